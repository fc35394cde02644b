"""What a run does that the sensor asked for: bring a request's answers, publish them, or say why there are none."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg

from bedrock_assets import report
from bedrock_assets.attempts import following, lane_for
from bedrock_assets.campaign import Job, JobStatus, Lane, Request
from bedrock_assets.collect import Collected, collect, publish, require_success, violations
from bedrock_assets.effects import Effect, announced
from bedrock_assets.errors import BedrockError, JobFailed, StaleShard
from bedrock_assets.gauges import Gauges
from bedrock_assets.launches import FINAL_TAG, JOB_TAG, REFUSAL_TAG, REQUEST_TAG
from bedrock_assets.ledger import Ledger, State
from bedrock_assets.on_demand import answer_on_demand
from bedrock_assets.places import Places
from bedrock_assets.records import ShardManifest, job_folder
from bedrock_assets.resources import BedrockResource
from bedrock_assets.shards import current_shard
from bedrock_assets.store import Store
from bedrock_assets.work import Work


@dataclass(frozen=True)
class Ended:
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


def answer(
    context: dg.AssetExecutionContext, pipeline: Work, store: Store, bedrock: BedrockResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """
    Complete the run's partition, or ask for its next attempt.

    Raises:
        dagster.Failure: There is no usable answer; the message carries Bedrock's own.
        BedrockUnavailable: Bedrock cannot be asked now; the sensor tries again.
    """
    ledger, places = Ledger(pipeline.spec.name), bedrock.open(store)
    ledger.refresh(context.instance)
    entry = ledger.entries.get(context.partition_key)
    if entry is None or not entry.state.is_open or entry.request.identity != context.run.tags[REQUEST_TAG]:
        context.log.info("this request has been dealt with already, or another one has replaced it")
        return
    try:
        shard = _require_current(current_shard(store, pipeline.spec.name, context.partition_key), entry.request)
        ended = _end(context, pipeline, store, bedrock, places, shard, entry.request)
        collected = collect(pipeline, store, shard, ended.arns, str(ended), ended.request.targets)
        again = _next_attempt(pipeline, store, shard, ended, collected)
        if again and again.lane is Lane.BATCH:
            places.used_by(pipeline.spec.targets, strict=False).stage([again])
        if again is None:
            require_success(collected, str(ended), ended.job.message if ended.job else None)
    except (JobFailed, StaleShard, BedrockError) as error:
        _fail(context, ledger, entry.request, error)
        raise dg.Failure(str(error), allow_retries=False) from error
    if again is not None:
        context.log.warning(f"{ended}: {again.n_records} records are sent again, {again.lane}")
        with announced(Effect.RECORD, State.REQUESTED):
            context.log_event(ledger.record(again, State.REQUESTED))
        return
    version = publish(store, pipeline, shard, collected)
    metadata = report.of_answers(pipeline, store, shard, collected, ended.job, entry)
    if ended.job and (reading := Gauges.of(context, pipeline, bedrock, places).read()):
        metadata |= reading.metadata
    with announced(Effect.MATERIALIZE, "batch_outputs"):
        yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))


def _end(
    context: dg.AssetExecutionContext,
    pipeline: Work,
    store: Store,
    bedrock: BedrockResource,
    places: Places,
    shard: ShardManifest,
    request: Request,
) -> Ended:
    """
    The attempt's end: of its job, whose outputs are in the store then, or of the calls that are made here.

    Raises:
        JobFailed: The job was refused, by Bedrock or for what the canary says.
    """
    tags = context.run.tags
    if REFUSAL_TAG in tags:
        raise JobFailed(tags[REFUSAL_TAG])
    if request.lane is Lane.ON_DEMAND:
        runtime = bedrock.open_runtime(places.at(pipeline.spec.targets[0]))
        answer_on_demand(pipeline, store, runtime, request, final=FINAL_TAG in tags)
        return Ended(request)
    job = places.get(tags[JOB_TAG])
    places.fetch(job.arn, job_folder(shard, request.attempt, job.arn), request.prompts)
    return Ended(request, job)


def _fail(context: dg.AssetExecutionContext, ledger: Ledger, request: Request, error: Exception) -> None:
    """
    Raises:
        BedrockUnavailable: *error*, if the same may succeed later: then the request stays open.
    """
    if isinstance(error, BedrockError) and error.retryable:
        raise error
    arn = context.run.tags.get(JOB_TAG)
    with announced(Effect.RECORD, State.FAILED):
        facts = {"job_arn": arn} if arn else {}
        context.log_event(ledger.record(request, State.FAILED, message=str(error), **facts))


def _require_current(shard: ShardManifest, request: Request) -> ShardManifest:
    if shard.fingerprint != request.fingerprint:
        raise StaleShard(
            f"the prompts of shard {request.shard} have changed since its job was submitted; its answers are left in "
            "the store and not joined. Launch the partition again for the new prompts."
        )
    return shard


def _next_attempt(
    pipeline: Work, store: Store, shard: ShardManifest, ended: Ended, collected: Collected
) -> Request | None:
    """
    The request for what the attempt left unanswered, if it is to be sent again.

    Raises:
        JobFailed: The job was stopped, or failed without one answer: a person decides whether to go on.
    """
    n_left, job, request = len(collected.unanswered), ended.job, ended.request
    if n_left == 0 or lane_for(pipeline, n_left) is None:
        return None  # too few for a job: they stay as they are in the table, where a person sees them
    if job and (job.status is JobStatus.STOPPED or (job.status is JobStatus.FAILED and not collected.count("ok"))):
        raise JobFailed(
            f"{ended} with {n_left} of {len(collected.rows)} rows unanswered: {job.message or 'no reason was given'}. "
            "The answers it gave are kept; launch the partition again to send the others."
        )
    if request.attempt >= request.last_attempt:
        return None
    broken = violations(collected.rows, collected.unanswered)
    return following(pipeline, store, shard, request, ended.arns[-1], collected.unanswered, broken)
