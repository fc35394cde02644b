"""
Moves jobs from status to status, one step at a time.

    Submitted → Validating → Scheduled → InProgress → Completed | PartiallyCompleted | Failed
    (before InProgress) → Expired        (any, on request) → Stopping → Stopped

Each step depends on the job's row alone, so a restart loses nothing: interrupted work starts over and writes the same
output.
"""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace

from bedrock_assets.emulator import clock as durations
from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.exceptions import ResourceNotFoundException
from bedrock_assets.emulator.execution import Execution, write_manifest
from bedrock_assets.emulator.inputs import JobFailedError, validate
from bedrock_assets.emulator.models import RUNNING, Job, JobStatus, model_key
from bedrock_assets.emulator.replies import Models, reply_function
from bedrock_assets.emulator.storage import Buckets, StorageError, locate

logger = logging.getLogger(__name__)

SAVE_S = 0.2
"""Real seconds between two writes of a job's live counts."""


class Lifecycle:
    """Moves jobs to their next status when it is due."""

    def __init__(self, backend: Backend, buckets: Buckets, models: Models) -> None:
        self._backend = backend
        self._table = backend.table
        self._clock = backend.clock
        self._buckets = buckets
        self._models = models
        self._validations: dict[str, Generator[None, None, int]] = {}
        self._executions: dict[str, Execution] = {}
        self._handlers: dict[JobStatus, Callable[[Job], bool]] = {
            JobStatus.SUBMITTED: self._submitted,
            JobStatus.VALIDATING: self._validating,
            JobStatus.SCHEDULED: self._scheduled,
            JobStatus.IN_PROGRESS: self._in_progress,
            JobStatus.STOPPING: self._stop,
        }

    def advance(self, job: Job) -> bool:
        """Do what is due for a job; whether more may be due now."""
        try:
            return self._handlers[job.status](job)
        except (JobFailedError, StorageError) as failure:
            self._move(job, JobStatus.FAILED, self._clock.now(), str(failure))
        except Exception:
            logger.exception("job %s failed inside the emulator", job.arn)
            self._move(job, JobStatus.FAILED, self._clock.now(), "Internal error")
        return False

    def write_late_manifests(self) -> bool:
        """Write the manifests that are due; whether there were any."""
        delays = self._backend.delays
        due = delays.due_manifests(self._clock.now())
        for job_id, region, manifest in due:
            with suppress(ResourceNotFoundException, StorageError):
                write_manifest(self._buckets, self._backend.get(job_id, region), manifest)
            delays.drop_manifest(job_id)
        return bool(due)

    def _submitted(self, job: Job) -> bool:
        end = self._phase_end(job, durations.SUBMITTED_S)
        if end is None or not self._has_slot(job):
            return self._expire_if_over(job)
        return self._move(job, JobStatus.VALIDATING, max(end, self._slot_since(job)))

    def _validating(self, job: Job) -> bool:
        limits = self._backend.limits
        steps = self._validations.setdefault(job.job_id, validate(self._buckets, job.input_uri, limits))
        if job.counts.total == 0:
            self._check_visible(job)
            try:
                next(steps)
            except StopIteration as end:
                self._accept(job, end.value)
            return True
        end = self._phase_end(job, durations.VALIDATING_S)
        if end is None:
            return self._expire_if_over(job)
        if job.faults.fail_message is not None and job.faults.fail_at == "Validating":
            raise JobFailedError(job.faults.fail_message)
        return self._move(job, JobStatus.SCHEDULED, end)

    def _check_visible(self, job: Job) -> None:
        hidden_s = self._clock.real_s(job.faults.bucket_hidden_s)
        for uri in (job.input_uri, job.output_uri):
            named = self._backend.delays.named(locate(uri).bucket)
            if hidden_s and job.phase_time < named + hidden_s:
                raise JobFailedError(f"Could not validate ListBucket permissions for S3URI {uri}.")

    def _accept(self, job: Job, total: int) -> None:
        self._buckets.check_output(locate(job.output_uri))
        self._table.set_counts(job.job_id, replace(job.counts, total=total), self._clock.now())

    def _scheduled(self, job: Job) -> bool:
        end = self._phase_end(job, durations.SCHEDULED_S)
        if end is None:
            return self._expire_if_over(job)
        if job.faults.expire:
            self._expire(job, end)
            return False
        return self._move(job, JobStatus.IN_PROGRESS, end)

    def _in_progress(self, job: Job) -> bool:
        execution = self._executions.get(job.job_id) or self._begin(job, self._limit(job))
        duration_s = self._duration_s(job)
        share = self._clock.fraction(job.phase_time, duration_s)
        if share < 1 and execution.tally.processed >= share * execution.limit:
            self._save_counts(job, execution, at_once=self._clock.stepped)
            return False
        if execution.step():
            self._save_counts(job, execution)
            return True
        if share == 1:
            self._table.set_counts(job.job_id, execution.counts, self._clock.now())
            self._finish(job, execution, self._clock.end_of(job.phase_time, duration_s))
        return False

    def _finish(self, job: Job, execution: Execution, end: float) -> None:
        if job.faults.fails_late:
            raise JobFailedError(str(job.faults.fail_message))
        partial = job.faults.partial_fraction is not None or execution.limit < job.counts.total
        self._delay_manifest(job, execution, end)
        self._move(job, JobStatus.PARTIALLY_COMPLETED if partial else JobStatus.COMPLETED, end)

    def _stop(self, job: Job) -> bool:
        execution = None
        if job.started:
            # after a restart the execution is gone: repeat what was counted
            execution = self._executions.get(job.job_id) or self._begin(job, job.counts.processed)
            if execution.limit > job.counts.processed:
                execution.halt()
            if execution.step():
                return True
            self._table.set_counts(job.job_id, execution.counts, self._clock.now())
        end = self._phase_end(job, durations.STOPPING_S)
        if end is not None:
            if execution is not None:
                self._delay_manifest(job, execution, end)
            self._move(job, JobStatus.STOPPED, end)
        return False

    def _delay_manifest(self, job: Job, execution: Execution, end: float) -> None:
        faults = job.faults
        if faults.late_manifest_s and not faults.missing_manifest:
            due = end + self._clock.real_s(faults.late_manifest_s)
            self._backend.delays.add_manifest(job.job_id, job.region, due, execution.manifest)

    def _begin(self, job: Job, limit: int) -> Execution:
        reply = reply_function(job.model_id, job.invocation_type, self._models)
        if reply is None:
            raise JobFailedError("Batch inference is not supported for the requested model.")
        execution = Execution(job, self._buckets, reply, limit, self._models.concurrency)
        self._executions[job.job_id] = execution
        return execution

    def _limit(self, job: Job) -> int:
        """Records that the job processes before its faults or its timeout end it."""
        faults, total = job.faults, job.counts.total
        share = faults.partial_fraction
        if share is None:
            # A modeled time, not the emulator's own pace: a slow machine must not cut jobs short.
            needed_s = self._clock.real_s(durations.in_progress_s(total))
            share = 0.0 if faults.fails_late else min(1.0, (job.expires - job.phase_time) / needed_s)
        return int(total * share)

    def _duration_s(self, job: Job) -> float:
        left_s = (job.expires - job.phase_time) * self._clock.speed
        return max(0.0, min(durations.in_progress_s(job.counts.total), left_s))

    def _save_counts(self, job: Job, execution: Execution, *, at_once: bool = False) -> None:
        counts = execution.counts
        if counts != job.counts and (at_once or time.monotonic() - execution.saved_at > SAVE_S):
            self._table.set_counts(job.job_id, counts, self._clock.now())
            execution.saved_at = time.monotonic()

    def _expire_if_over(self, job: Job) -> bool:
        """Expire a waiting job whose time is over. Returns False: no more is due now."""
        if self._clock.now() >= job.expires:
            self._expire(job, self._clock.end_of(job.expires, 0))
        return False

    def _expire(self, job: Job, end: float) -> None:
        if job.faults.mark_expired and job.counts.total:
            execution = self._begin(job, 0)
            while execution.step():
                pass
            self._delay_manifest(job, execution, end)
        self._move(job, JobStatus.EXPIRED, end, "The job expired before it could start. Resubmit the job.")

    def _has_slot(self, job: Job) -> bool:
        key = model_key(job.model_id)
        return not self._backend.queue or self._table.n_jobs(job.region, key, RUNNING) < self._backend.max_jobs(key)

    def _slot_since(self, job: Job) -> float:
        """When the last job of the model ended, as this one may have waited for it."""
        return self._table.last_end(job.region, model_key(job.model_id)) if self._backend.queue else 0.0

    def _phase_end(self, job: Job, emulated_s: float) -> float | None:
        """When a phase of this length ended; None while it lasts, and if the job expires first."""
        if self._clock.fraction(job.phase_time, emulated_s) < 1:
            return None
        end = self._clock.end_of(job.phase_time, emulated_s)
        return end if end < job.expires else None

    def _move(self, job: Job, status: JobStatus, now: float, message: str | None = None) -> bool:
        self._validations.pop(job.job_id, None)
        if status not in (JobStatus.IN_PROGRESS, JobStatus.STOPPING):
            self._executions.pop(job.job_id, None)
        return self._table.move(job, status, now, message=message)
