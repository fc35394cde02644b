"""The attempts of a shard: how one ended, what it left unanswered, and the request for the next."""

import dataclasses
from dataclasses import dataclass

import polars as pl

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.errors import JobFailed, StaleShard
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.outputs.collect import Collected, Collector
from bedrock_assets.outputs.thoughts import TRUNCATED
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.remainder import repaired_lines, write_remainder
from bedrock_assets.storage.manifests import InferenceMode, ReusedFrom, ShardManifest
from bedrock_assets.storage.store import Store


def mode_for(workload: Workload, n_records: int) -> InferenceMode | None:
    """The inference mode for that many records; None where they are too few for a job and `on_small` is `error`."""
    if n_records == 0:
        return InferenceMode.ON_DEMAND  # nothing is sent, because every row has an answer elsewhere
    if n_records >= workload.spec.limits.min_records_per_job or workload.spec.on_small == "pad":
        return InferenceMode.BATCH
    return InferenceMode.ON_DEMAND if workload.spec.on_small in ("on_demand", "flex") else None


@dataclass(frozen=True)
class FinishedAttempt:
    """An attempt that has ended; its outputs are in the store."""

    request: Request
    job: Job | None = None
    """None on demand."""

    @property
    def arns(self) -> tuple[str, ...]:
        """The job of each attempt so far; empty for an attempt on demand."""
        return (*self.request.former_jobs, self.job.arn if self.job else "")

    @property
    def message(self) -> str | None:
        """Bedrock's own message, if it gave one."""
        return self.job.message if self.job else None

    def __str__(self) -> str:
        return f"job {self.job.name} ended as {self.job.status}" if self.job else "the calls on demand ended"


@dataclass(frozen=True)
class ShardAttempts:
    """The attempts of one shard."""

    workload: Workload
    store: Store
    shard: ShardManifest

    @property
    def collector(self) -> Collector:
        """Reads the outputs of the attempts."""
        return Collector(self.workload, self.store, self.shard)

    def require_current(self, request: Request) -> None:
        """
        Raises:
            StaleShard: The prompts have changed since the request was made.
        """
        if self.shard.fingerprint != request.fingerprint:
            raise StaleShard(
                f"the prompts of shard {request.shard} have changed since its job was submitted; its answers stay in "
                "the store and are not joined. Launch the partition again for the new prompts."
            )

    def collect(self, finished: FinishedAttempt) -> Collected:
        """One row for each row of the shard, from all attempts so far."""
        return self.collector.collect(finished.arns, str(finished), finished.request.all_where)

    def after(self, finished: FinishedAttempt, collected: Collected) -> Request | None:
        """
        The request for what an attempt left unanswered, if it is to be sent again by itself.

        Raises:
            JobFailed: The job was stopped, or failed without one answer: a person decides whether to go on.
        """
        n_left, job, request = len(collected.unanswered), finished.job, finished.request
        if n_left == 0 or mode_for(self.workload, n_left) is None:
            return None  # too few for a job: they stay as they are in the table, where a person sees them
        gave_nothing = job is not None and job.status is JobStatus.FAILED and not collected.count("ok")
        if job and (job.status is JobStatus.STOPPED or gave_nothing):
            raise JobFailed(
                f"{finished} with {n_left} of {len(collected.rows)} rows unanswered: "
                f"{job.message or 'Bedrock gave no reason'}. "
                "The answers it gave are kept; launch the partition again to send the others."
            )
        if request.attempt >= request.last_attempt:
            return None
        return self.next_attempt(request, finished.arns[-1], collected.unanswered, collected.violations)

    def resume(self, request: Request, job_arn: str) -> Request:
        """
        The request for what an ended attempt left unanswered, because a person launches the shard again: rows that
        Bedrock refused are sent again too, but not rows without a record, nor rows whose answer was cut off before it
        began: with other settings their shard has other prompts, and no attempt of it is resumed.
        """
        collected = self.collector.collect((*request.former_jobs, job_arn), "")
        was_sent = pl.col("attempt").is_not_null() & (pl.col("answer_source") != ReusedFrom.DUPLICATE)
        may_differ = pl.col("error_code").ne_missing(TRUNCATED)
        unanswered = collected.rows.filter((pl.col("status") != "ok") & was_sent & may_differ)["record_id"]
        collected = dataclasses.replace(collected, unanswered=unanswered)
        return self.next_attempt(request, job_arn, unanswered, collected.violations) or request

    def next_attempt(
        self, former: Request, job_arn: str, unanswered: pl.Series, violations: pl.DataFrame | None = None
    ) -> Request | None:
        """
        The request for the next attempt, its records written; None where they are too few to be sent.

        Args:
            job_arn: The job of *former*; empty for an attempt on demand.
            unanswered: Record ids to send, String.
            violations: Those of them whose answer broke the schema and is to be repaired: record_id, error_message.
        """
        mode = mode_for(self.workload, len(unanswered)) if len(unanswered) else None
        if mode is None:
            return None
        attempt = former.attempt + 1
        store, workload, shard = self.store, self.workload, self.shard
        repaired = None if violations is None else repaired_lines(store, workload, shard, violations)
        prompts, n_records = write_remainder(store, workload, shard, attempt, unanswered, repaired)
        return dataclasses.replace(
            former,
            attempt=attempt,
            prompts=prompts,
            n_records=n_records,
            inference_mode=mode,
            former_jobs=(*former.former_jobs, job_arn),
            former_where=former.all_where,
            where="",
        )
