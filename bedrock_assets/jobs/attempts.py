"""What a shard's attempts left unanswered becomes the next attempt, by the inference mode that fits its size."""

import dataclasses
from dataclasses import dataclass

import dagster as dg
import polars as pl

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import JobFailed, StaleShard
from bedrock_assets.jobs.collect_runs import FINAL_TAG, JOB_TAG, REFUSAL_TAG
from bedrock_assets.jobs.on_demand import answer_on_demand
from bedrock_assets.jobs.request import Request
from bedrock_assets.outputs.collect import Collected, violations
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.shards.remainder import repaired_lines, write_remainder
from bedrock_assets.storage.keys import job_folder
from bedrock_assets.storage.manifests import InferenceMode, ShardManifest
from bedrock_assets.storage.store import Store


def mode_for(pipeline: Workload, n_records: int) -> InferenceMode | None:
    """The inference mode for that many records; None where they are too few for a job and `on_small` is `error`."""
    if n_records == 0:
        return InferenceMode.ON_DEMAND  # nothing is asked, as all is answered elsewhere
    if n_records >= pipeline.spec.limits.min_records_per_job:
        return InferenceMode.BATCH
    by_setting: dict[str, InferenceMode | None] = {
        "on_demand": InferenceMode.ON_DEMAND,
        "pad": InferenceMode.BATCH,
        "error": None,
    }
    return by_setting[pipeline.spec.on_small]


def next_attempt(
    pipeline: Workload,
    store: Store,
    shard: ShardManifest,
    former: Request,
    job_arn: str,
    unanswered: pl.Series,
    broken: pl.DataFrame | None = None,
) -> Request | None:
    """
    The request for the next attempt, its records written; None where they are too few to be sent.

    Args:
        job_arn: Of the job of *former*; empty where it was answered on demand.
        unanswered: Record ids to send, String.
        broken: Those of them whose answer broke the schema and is to be repaired: record_id, error_message.
    """
    inference_mode = mode_for(pipeline, len(unanswered)) if len(unanswered) else None
    if inference_mode is None:
        return None
    attempt = former.attempt + 1
    repaired = None if broken is None else repaired_lines(store, pipeline, shard, broken)
    prompts, n_records = write_remainder(store, pipeline, shard, attempt, unanswered, repaired)
    return dataclasses.replace(
        former,
        attempt=attempt,
        prompts=prompts,
        n_records=n_records,
        inference_mode=inference_mode,
        former_jobs=(*former.former_jobs, job_arn),
        former_targets=former.targets,
        target="",
    )


@dataclass(frozen=True)
class FinishedAttempt:
    """How an attempt ended."""

    request: Request
    job: Job | None = None
    """None on demand."""

    @property
    def arns(self) -> tuple[str, ...]:
        """The job of each attempt so far, empty for one on demand."""
        return (*self.request.former_jobs, self.job.arn if self.job else "")

    def __str__(self) -> str:
        return f"job {self.job.name} ended as {self.job.status}" if self.job else "the calls on demand ended"


def end_attempt(
    context: dg.AssetExecutionContext,
    pipeline: Workload,
    store: Store,
    bedrock: BedrockResource,
    regions: Regions,
    shard: ShardManifest,
    request: Request,
) -> FinishedAttempt:
    """
    The attempt's end: of its job, whose outputs are in the store then, or of the calls that are made here.

    Raises:
        JobFailed: The job was refused, by Bedrock or for what the canary says.
    """
    tags = context.run.tags
    if REFUSAL_TAG in tags:
        raise JobFailed(tags[REFUSAL_TAG])
    if request.inference_mode is InferenceMode.ON_DEMAND:
        runtime = bedrock.open_runtime(regions.at(pipeline.spec.targets[0]))
        answer_on_demand(pipeline, store, runtime, request, final=FINAL_TAG in tags)
        return FinishedAttempt(request)
    job = regions.get(tags[JOB_TAG])
    regions.fetch(job.arn, job_folder(shard, request.attempt, job.arn), request.prompts)
    return FinishedAttempt(request, job)


def require_current(shard: ShardManifest, request: Request) -> ShardManifest:
    if shard.fingerprint != request.fingerprint:
        raise StaleShard(
            f"the prompts of shard {request.shard} have changed since its job was submitted; its answers are left in "
            "the store and not joined. Launch the partition again for the new prompts."
        )
    return shard


def decide_next_attempt(
    pipeline: Workload, store: Store, shard: ShardManifest, ended: FinishedAttempt, collected: Collected
) -> Request | None:
    """
    The request for what the attempt left unanswered, if it is to be sent again.

    Raises:
        JobFailed: The job was stopped, or failed without one answer: a person decides whether to go on.
    """
    n_left, job, request = len(collected.unanswered), ended.job, ended.request
    if n_left == 0 or mode_for(pipeline, n_left) is None:
        return None  # too few for a job: they stay as they are in the table, where a person sees them
    if job and (job.status is JobStatus.STOPPED or (job.status is JobStatus.FAILED and not collected.count("ok"))):
        raise JobFailed(
            f"{ended} with {n_left} of {len(collected.rows)} rows unanswered: {job.message or 'no reason was given'}. "
            "The answers it gave are kept; launch the partition again to send the others."
        )
    if request.attempt >= request.last_attempt:
        return None
    broken = violations(collected.rows, collected.unanswered)
    return next_attempt(pipeline, store, shard, request, ended.arns[-1], collected.unanswered, broken)
