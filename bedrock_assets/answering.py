"""What a collect run does: read an ended job's output, publish it, or say why there is none."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import dagster as dg

from bedrock_assets import report
from bedrock_assets.bedrock import Bedrock
from bedrock_assets.campaign import Job, JobStatus, Request
from bedrock_assets.collect import Collected, can_be_sent, collect, publish, require_success, write_remainder
from bedrock_assets.dispatch import JOB_TAG, REFUSAL_TAG, REQUEST_TAG
from bedrock_assets.errors import JobFailed, StaleShard
from bedrock_assets.ledger import Ledger, State
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.records import ShardManifest
from bedrock_assets.shards import current_shard
from bedrock_assets.store import Store

_CUT_SHORT = (JobStatus.PARTIALLY_COMPLETED, JobStatus.EXPIRED)
"""Bedrock ran out of time: what is left is sent again without asking."""
_STOPPED = (JobStatus.STOPPED, JobStatus.FAILED)
"""Somebody or something ended the job: what it answered is kept, a person decides whether to go on."""


def answer(
    context: dg.AssetExecutionContext, pipeline: Pipeline, store: Store, bedrock: Bedrock
) -> Iterator[dg.MaterializeResult[Any]]:
    """
    Complete the run's partition, or ask for its next attempt.

    Raises:
        dagster.Failure: The job has no usable answer; the message carries Bedrock's own.
    """
    ledger = Ledger(pipeline.spec.name)
    ledger.refresh(context.instance)
    entry = ledger.entries.get(context.partition_key)
    if entry is None or not entry.state.is_open or entry.request.identity != context.run.tags[REQUEST_TAG]:
        context.log.info("this request has been dealt with already, or another one has replaced it")
        return
    request, arn = entry.request, context.run.tags.get(JOB_TAG)
    try:
        job = bedrock.get(_require_job(context, arn))
        shard = current_shard(store, pipeline.spec.name, context.partition_key)
        _require_current(shard, request)
        collected = collect(pipeline, store, shard, job, request.attempt)
        following = _next_attempt(pipeline, store, shard, job, request, collected)
        if following is None:
            require_success(collected, job)
    except (JobFailed, StaleShard) as error:
        facts = {"job_arn": arn} if arn else {}
        context.log_event(ledger.record(request, State.FAILED, message=str(error), **facts))
        raise dg.Failure(str(error), allow_retries=False) from error
    if following is not None:
        context.log_event(ledger.record(following, State.REQUESTED))
        context.log.warning(f"{job.name} ended as {job.status}: {following.n_records} records are sent again")
        return
    version = publish(store, pipeline, shard, collected)
    yield dg.MaterializeResult(
        metadata=report.of_answers(pipeline, store, shard, collected, job, request),
        data_version=dg.DataVersion(version),
    )


def _require_job(context: dg.AssetExecutionContext, arn: str | None) -> str:
    if arn is None:
        raise JobFailed(f"Bedrock refused the job: {context.run.tags[REFUSAL_TAG]}")
    return arn


def _require_current(shard: ShardManifest, request: Request) -> None:
    if shard.fingerprint != request.fingerprint:
        raise StaleShard(
            f"the prompts of shard {request.shard} have changed since its job was submitted; its answers are left in "
            "the store and not joined. Launch the partition again for the new prompts."
        )


def _next_attempt(
    pipeline: Pipeline, store: Store, shard: ShardManifest, job: Job, request: Request, collected: Collected
) -> Request | None:
    """
    The request for what a job that was cut short left unanswered, if it is to be sent again.

    Raises:
        JobFailed: The job was stopped or failed before it came to all records.
    """
    n_missing = collected.count("missing")
    if not can_be_sent(pipeline, n_missing):
        return None  # too few for a job: they stay missing in the table, where a person sees them
    if job.status in _STOPPED:
        raise JobFailed(
            f"job {job.name} ended as {job.status} with {n_missing} of {len(collected.rows)} rows unanswered: "
            f"{job.message or 'no reason was given'}. The answers it gave are kept; launch the partition again "
            "to send the others."
        )
    if job.status not in _CUT_SHORT or request.attempt >= pipeline.spec.max_attempts:
        return None
    attempt = request.attempt + 1
    done = collected.rows.filter(collected.rows["status"] != "missing")["record_id"]
    prompts, n_records = write_remainder(store, pipeline, shard, attempt, done)
    return dataclasses.replace(request, attempt=attempt, prompts=prompts, n_records=n_records)
