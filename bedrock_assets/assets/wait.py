"""Waits in the launched run for its shards, and logs their progress."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from bedrock_assets.assets.cloudwatch import WorkloadMetrics
from bedrock_assets.assets.queued import QueuedCollectRuns
from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.model_invocation_jobs import LOOK_BACK, Jobs
from bedrock_assets.errors import BedrockUnavailable, StoreError
from bedrock_assets.jobs.cancellations import Cancellations
from bedrock_assets.jobs.gate import APPROVAL
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.shard_request import RequestStatus, name_prefix, on_hold_note
from bedrock_assets.units import counted

QUIET_POLLS = 8
"""After so many polls without a change the last line is logged again, to show that the run is alive."""
PERSON_POLLS = 240
"""The same while a person is waited for, which may take days."""
WITHDRAWN = "This run was cancelled: shards without a job are withdrawn, and jobs in flight end as `on_cancel` says."
GOES_ON = (
    "This run ends, but nobody has cancelled its shards: jobs go on, shards that wait are submitted, and the sensor "
    "collects all of them. Launch these partitions again to follow them; to give them up, use `bedrock-assets stop`."
)
EXPIRY_WARNING = 0.1
"""Warn of a job that has not started when less than this share of its time is left."""


@dataclass
class Watch:
    """Watches the shards of a launched run. If it dies, the sensor goes on."""

    context: dg.AssetExecutionContext
    pipeline: str
    ledger: Ledger
    jobs: Jobs
    poll_s: float
    queued: QueuedCollectRuns | None = None
    """The runs whose work it does, if they get no slot."""
    metrics: WorkloadMetrics | None = None
    approval_note: Callable[[Ledger], str] = lambda _: ""
    """Says whether, and for what, a person is waited for."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    warned: set[str] = field(default_factory=set)
    """ARNs of jobs that were warned of."""

    def until_done(self) -> None:
        """
        Raises:
            dagster.Failure: Shards failed, or were withdrawn; the message lists them.
            DagsterExecutionInterruptedError: The run is cancelled; what becomes of its jobs is logged before.
        """
        try:
            self._follow(list(self.context.partition_keys))
        except dg.DagsterExecutionInterruptedError:
            by_person = Cancellations.read(self.context.instance, [self.context.run.run_id]).by_person
            self.context.log.warning(WITHDRAWN if by_person else GOES_ON)
            raise

    def _follow(self, keys: Sequence[str]) -> None:
        last_line, n_quiet = "", 0
        while True:
            self.ledger.refresh(self.context.instance)
            waiting = [key for key in keys if self.ledger.entries[key].state.is_open]
            line = self._line(keys, waiting)
            n_quiet = n_quiet + 1 if line == last_line else 0
            if line != last_line:
                self.context.log.info(line)
            elif n_quiet % (PERSON_POLLS if APPROVAL in line else QUIET_POLLS) == 0:
                self.context.log.info(line if APPROVAL in line else f"{line} (no change; is the sensor running?)")
            last_line = line
            if self.metrics:
                self.metrics.observe()
            if not waiting:
                break
            if self.queued:
                self.queued.collect()
                self._make_way(self.queued, waiting)
            time.sleep(self.poll_s)
        self._fail_if_any(keys)

    def _make_way(self, queued: QueuedCollectRuns, waiting: Sequence[str]) -> None:
        """
        End, if this run's shards have no jobs and what they may wait for gets no run slot.

        After an edit or a new dataset they wait for new prompts. If runs that wait hold all slots, the run that makes
        these would stay in the queue.
        """
        if any(self.ledger.entries[key].job_arn for key in waiting):
            return
        if blocked := queued.blocked():
            raise dg.Failure(
                f"this run gives its run slot to run {blocked.run_id}, which makes prompts or the dataset anew and got "
                f"none. {counted(len(waiting), 'shard', 'stay')} requested; launch them again to follow them",
                allow_retries=False,
            )

    def _line(self, keys: Sequence[str], waiting: Sequence[str]) -> str:
        """One line of progress: shards done, running and queued, records, and the time left."""
        entries = [self.ledger.entries[key] for key in keys]
        n_failed = sum(entry.state in (RequestState.FAILED, RequestState.WITHDRAWN) for entry in entries)
        jobs = self._jobs_of([entry.job_arn for entry in entries if entry.request.shard in set(waiting)])
        n_records = sum(entry.request.n_records for entry in entries)
        n_done = sum(entry.request.n_records for entry in entries if not entry.state.is_open)
        n_done += sum(job.n_processed for job in jobs)
        n_running = sum(job.status is JobStatus.IN_PROGRESS for job in jobs)
        self._warn(jobs)
        done = counted(len(keys) - len(waiting), "shard", of=len(keys))
        return (
            f"{done} done ({n_failed} failed), {n_running} running, "
            f"{len(jobs) - n_running} queued at Bedrock, {len(waiting) - len(jobs)} to be submitted"
            f"{self._on_hold(waiting)}; {n_done:,} of {n_records:,} records{self._pace(n_done, n_records)}"
        )

    def _on_hold(self, waiting: Sequence[str]) -> str:
        entries = [entry for key in waiting if (entry := self.ledger.entries[key]).job_arn is None]
        n_on_hold = sum(self.ledger.status_of(entry.request) is RequestStatus.ON_HOLD for entry in entries)
        if n_on_hold:
            return f" ({on_hold_note(n_on_hold)})"
        with suppress(StoreError):  # the next look tells
            note = self.approval_note(self.ledger)
            return f" ({note})" if note else ""
        return ""

    def _pace(self, n_done: int, n_records: int) -> str:
        minutes = (datetime.now(UTC) - self.started_at).total_seconds() / 60
        if not n_done or n_done >= n_records or minutes < 1:
            return ""
        minutes_left = (n_records - n_done) * minutes / n_done
        return f", {n_done / minutes:,.0f} records/min, about {minutes_left / 60:.1f} h left"

    def _jobs_of(self, arns: Sequence[str | None]) -> list[Job]:
        if not any(arns):
            return []
        since = datetime.now(UTC) - LOOK_BACK
        try:
            jobs = list(self.jobs.list(since=since, name_contains=name_prefix(self.pipeline)))
        except BedrockUnavailable as error:
            self.context.log.warning(f"Bedrock is not reachable, so the progress is not known: {error}")
            return []
        return [job for job in jobs if job.arn in arns]

    def _warn(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            queued = job.status in (JobStatus.SUBMITTED, JobStatus.VALIDATING, JobStatus.SCHEDULED)
            if not queued or job.expires_at is None or job.arn in self.warned:
                continue
            if job.expires_at - datetime.now(UTC) < EXPIRY_WARNING * (job.expires_at - job.submitted_at):
                self.context.log.warning(f"{job.name} has not started and will expire at {job.expires_at:%H:%M} UTC")
                self.warned.add(job.arn)

    def _fail_if_any(self, keys: Sequence[str]) -> None:
        entries = [self.ledger.entries[key] for key in keys]
        unanswered = [entry for entry in entries if entry.state is not RequestState.ANSWERED]
        if unanswered:
            listed = "\n".join(f"{entry.request.shard}: {entry.message or entry.state}" for entry in unanswered)
            raise dg.Failure(
                f"{counted(len(unanswered), 'shard', 'have', of=len(keys))} no answers:\n{listed}\n"
                "Launch these partitions again for a new attempt; answers that arrived are kept.",
                allow_retries=False,
            )
