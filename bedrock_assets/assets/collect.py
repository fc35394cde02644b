"""What a run does that the sensor asked for: bring a request's answers, publish them, or say why there are none."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from bedrock_assets.assets import metadata as report
from bedrock_assets.assets.cloudwatch import WorkloadMetrics
from bedrock_assets.audit import Effect, announced
from bedrock_assets.errors import BedrockError, JobFailed, StaleShard
from bedrock_assets.jobs.attempts import decide_next_attempt, end_attempt, require_current
from bedrock_assets.jobs.collect_runs import JOB_TAG, REQUEST_TAG
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.request import Request
from bedrock_assets.outputs.collect import collect, publish, require_success
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store


def answer(
    context: dg.AssetExecutionContext, pipeline: Workload, store: Store, bedrock: BedrockResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """
    Complete the run's partition, or ask for its next attempt.

    Raises:
        dagster.Failure: There is no usable answer; the message carries Bedrock's own.
        BedrockUnavailable: Bedrock cannot be asked now; the sensor tries again.
    """
    ledger, regions = Ledger(pipeline.spec.name), bedrock.open(store)
    ledger.refresh(context.instance)
    entry = ledger.entries.get(context.partition_key)
    if entry is None or not entry.state.is_open or entry.request.identity != context.run.tags[REQUEST_TAG]:
        context.log.info("this request has been dealt with already, or another one has replaced it")
        return
    try:
        shard = require_current(current_shard(store, pipeline.spec.name, context.partition_key), entry.request)
        ended = end_attempt(context, pipeline, store, bedrock, regions, shard, entry.request)
        collected = collect(pipeline, store, shard, ended.arns, str(ended), ended.request.targets)
        again = decide_next_attempt(pipeline, store, shard, ended, collected)
        if again and again.inference_mode is InferenceMode.BATCH:
            regions.used_by(pipeline.spec.targets, strict=False).stage([again])
        if again is None:
            require_success(collected, str(ended), ended.job.message if ended.job else None)
    except (JobFailed, StaleShard, BedrockError) as error:
        _fail(context, ledger, entry.request, error)
        raise dg.Failure(str(error), allow_retries=False) from error
    if again is not None:
        context.log.warning(f"{ended}: {again.n_records} records are sent again, {again.inference_mode}")
        with announced(Effect.RECORD, RequestState.REQUESTED):
            context.log_event(ledger.record(again, RequestState.REQUESTED))
        return
    version = publish(store, pipeline, shard, collected)
    metadata = report.answers_metadata(pipeline, store, shard, collected, ended.job, entry)
    if ended.job and (reading := WorkloadMetrics.of(context, pipeline, bedrock, regions).read()):
        metadata |= reading.metadata
    with announced(Effect.MATERIALIZE, "batch_outputs"):
        yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))


def _fail(context: dg.AssetExecutionContext, ledger: Ledger, request: Request, error: Exception) -> None:
    """
    Raises:
        BedrockUnavailable: *error*, if the same may succeed later: then the request stays open.
    """
    if isinstance(error, BedrockError) and error.retryable:
        raise error
    arn = context.run.tags.get(JOB_TAG)
    with announced(Effect.RECORD, RequestState.FAILED):
        facts = {"job_arn": arn} if arn else {}
        context.log_event(ledger.record(request, RequestState.FAILED, message=str(error), **facts))
