"""
The thread that moves jobs through their lives.

    Submitted → Validating → Scheduled → InProgress → Completed | PartiallyCompleted | Failed
    (before InProgress) → Expired        (any of them, on request) → Stopping → Stopped

It keeps nothing that a restart would miss: each step is decided from the job's row, and work that was cut off
starts over and writes the same output.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from bedrock_assets.emulator import clock as durations
from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.database import Where
from bedrock_assets.emulator.execution import Execution
from bedrock_assets.emulator.inputs import JobFailedError, validate
from bedrock_assets.emulator.models import IN_FLIGHT, RUNNING, Job, JobStatus, model_key
from bedrock_assets.emulator.replies import ReplyFunction, reply_function
from bedrock_assets.emulator.storage import Buckets, StorageError, locate

logger = logging.getLogger(__name__)

PERSIST_S = 0.2
"""Real seconds between two writes of a job's live counts."""

IDLE_S = 0.5
MAX_POLL_S, MIN_POLL_S = 0.25, 0.005
"""Real seconds between two looks at the jobs: about one emulated second, within these bounds."""


@dataclass
class Work:
    """An execution under way."""

    execution: Execution
    steps: Iterator[None]
    persisted: float = 0.0


class Runner:
    """Moves the jobs of a backend; start it once per table."""

    def __init__(
        self,
        backend: Backend,
        buckets: Buckets,
        replies: Callable[[str, str], ReplyFunction | None] = reply_function,
    ) -> None:
        self._backend = backend
        self._table = backend.table
        self._clock = backend.clock
        self._buckets = buckets
        self._replies = replies
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bedrock-emulator-runner", daemon=True)
        self._validations: dict[str, Generator[None, None, int]] = {}
        self._works: dict[str, Work] = {}
        self._handlers: dict[JobStatus, Callable[[Job], bool]] = {
            JobStatus.SUBMITTED: self._submitted,
            JobStatus.VALIDATING: self._validating,
            JobStatus.SCHEDULED: self._scheduled,
            JobStatus.IN_PROGRESS: self._in_progress,
            JobStatus.STOPPING: self._stop,
        }

    def start(self) -> None:
        """Begin, or go on where an earlier process stopped."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; jobs in flight stay as they are, for the next process."""
        self._stopping.set()
        self._backend.changed.set()
        self._thread.join()

    def _run(self) -> None:
        poll_s = min(MAX_POLL_S, max(MIN_POLL_S, self._clock.real_s(1.0)))
        while True:
            self._backend.changed.clear()
            if self._stopping.is_set():
                return
            jobs = self._table.find(Where().status_in(IN_FLIGHT))
            busy = [self._advance(job) for job in jobs if not self._stopping.is_set()]
            if not any(busy):
                self._backend.changed.wait(poll_s if jobs else IDLE_S)

    def _advance(self, job: Job) -> bool:
        """Do what is due for a job; whether more may be due at once."""
        try:
            return self._handlers[job.status](job)
        except (JobFailedError, StorageError) as failure:
            self._move(job, JobStatus.FAILED, str(failure))
        except Exception:
            logger.exception("job %s failed inside the emulator", job.arn)
            self._move(job, JobStatus.FAILED, "Internal error")
        return False

    def _submitted(self, job: Job) -> bool:
        if self._expired(job) or not self._due(job, durations.SUBMITTED_S) or not self._has_slot(job):
            return False
        return self._move(job, JobStatus.VALIDATING)

    def _validating(self, job: Job) -> bool:
        if self._expired(job):
            return False
        limits = self._backend.rules.limits
        steps = self._validations.setdefault(job.job_id, validate(self._buckets, job.input_uri, limits))
        if job.counts.total == 0:
            try:
                next(steps)
            except StopIteration as end:
                self._accept(job, end.value)
            return True
        if not self._due(job, durations.VALIDATING_S):
            return False
        if job.faults.fail_message is not None and job.faults.fail_at == "Validating":
            raise JobFailedError(job.faults.fail_message)
        return self._move(job, JobStatus.SCHEDULED)

    def _accept(self, job: Job, total: int) -> None:
        self._buckets.check_output(locate(job.output_uri))
        self._table.set_counts(job.job_id, replace(job.counts, total=total), self._clock.now())

    def _scheduled(self, job: Job) -> bool:
        if self._expired(job) or not self._due(job, durations.SCHEDULED_S):
            return False
        if job.faults.expire:
            self._expire(job)
            return False
        return self._move(job, JobStatus.IN_PROGRESS)

    def _in_progress(self, job: Job) -> bool:
        work = self._works.get(job.job_id) or self._begin(job, self._limit(job))
        done = self._clock.fraction(job.phase_time, self._duration_s(job))
        if done < 1 and work.execution.tally.processed >= done * work.execution.limit:
            return False
        if next(work.steps, job) is job:
            if done < 1:
                return False
            self._table.set_counts(job.job_id, work.execution.counts, self._clock.now())
            self._finish(job, work)
            return False
        self._persist(job, work)
        return True

    def _finish(self, job: Job, work: Work) -> None:
        faults = job.faults
        if faults.fail_message is not None and faults.fail_at == "InProgress":
            raise JobFailedError(faults.fail_message)
        partial = faults.partial_fraction is not None or work.execution.limit < job.counts.total
        self._move(job, JobStatus.PARTIALLY_COMPLETED if partial else JobStatus.COMPLETED)

    def _stop(self, job: Job) -> bool:
        if job.started:
            # after a restart there is no work at hand: do again what had been counted
            work = self._works.get(job.job_id) or self._begin(job, job.counts.processed)
            if job.job_id in self._works and work.execution.limit > job.counts.processed:
                work.execution.halt()
            if next(work.steps, job) is not job:
                return True
            self._table.set_counts(job.job_id, work.execution.counts, self._clock.now())
        if self._due(job, durations.STOPPING_S):
            self._move(job, JobStatus.STOPPED)
        return False

    def _begin(self, job: Job, limit: int) -> Work:
        reply = self._replies(job.model_id, job.invocation_type)
        if reply is None:
            raise JobFailedError("Batch inference is not supported for the requested model.")
        fails = job.faults.fail_message is not None and job.faults.fail_at == "InProgress"
        execution = Execution(job, self._buckets, reply, limit)
        work = self._works[job.job_id] = Work(execution, execution.steps(manifest=not fails))
        return work

    def _limit(self, job: Job) -> int:
        """Records that the job will process before its faults or its timeout end it."""
        faults, total = job.faults, job.counts.total
        share = faults.partial_fraction
        if share is None:
            fails = faults.fail_message is not None and faults.fail_at == "InProgress"
            # A modelled time, not the emulator's own pace: a slow machine must not cut jobs short.
            needed_s = self._clock.real_s(durations.in_progress_s(total))
            share = 0.0 if fails else min(1.0, (job.expires - job.phase_time) / needed_s)
        return int(total * share)

    def _duration_s(self, job: Job) -> float:
        left_s = (job.expires - job.phase_time) * self._clock.speed
        return max(0.0, min(durations.in_progress_s(job.counts.total), left_s))

    def _persist(self, job: Job, work: Work) -> None:
        if time.monotonic() - work.persisted > PERSIST_S:
            self._table.set_counts(job.job_id, work.execution.counts, self._clock.now())
            work.persisted = time.monotonic()

    def _expired(self, job: Job) -> bool:
        if self._clock.now() < job.expires:
            return False
        self._expire(job)
        return True

    def _expire(self, job: Job) -> None:
        if job.faults.mark_expired and job.counts.total:
            for _ in self._begin(job, 0).steps:
                pass
        self._move(job, JobStatus.EXPIRED, "The job expired before it could start. Resubmit the job.")

    def _has_slot(self, job: Job) -> bool:
        if self._backend.rules.quota_mode == "refuse":
            return True
        key = model_key(job.model_id)
        where = Where().also("region = ?", job.region).also("model_key = ?", key).status_in(RUNNING)
        return self._table.tally(where, "model_key").get(key, 0) < self._backend.rules.max_jobs(key)

    def _due(self, job: Job, emulated_s: float) -> bool:
        return self._clock.fraction(job.phase_time, emulated_s) >= 1

    def _move(self, job: Job, status: JobStatus, message: str | None = None) -> bool:
        with suppress(KeyError):
            del self._validations[job.job_id]
        if status not in (JobStatus.IN_PROGRESS, JobStatus.STOPPING):
            self._works.pop(job.job_id, None)
        return self._table.move(job, status, self._clock.now(), message=message)
