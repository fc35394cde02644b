"""What a launched `batch_outputs` run does: ask for the shards it was launched for, then watch until they are done."""

import dataclasses
from collections.abc import Sequence, Set
from typing import NoReturn

import dagster as dg
import polars as pl

from bedrock_assets.audit import Effect, announced
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import StaleShard, TooFewRecords
from bedrock_assets.jobs.attempts import mode_for, next_attempt
from bedrock_assets.jobs.budget import estimate_launch
from bedrock_assets.jobs.collect_runs import BACKFILL_TAG
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState
from bedrock_assets.jobs.request import Request
from bedrock_assets.outputs.collect import collect, violations
from bedrock_assets.pipeline.records import Pipeline
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import job_folder, raw_manifest_key
from bedrock_assets.storage.manifests import InferenceMode, RawManifest, ReusedFrom, ShardManifest
from bedrock_assets.threads import N_READERS, map_ordered

TERMINAL_STATES = frozenset({RequestState.FAILED, RequestState.WITHDRAWN})
"""A shard in one of these states is asked for anew."""


def enqueue(
    context: dg.AssetExecutionContext, pipeline: Workload, regions: Regions, *, retry_errors: bool = False
) -> Ledger:
    """
    Record one request for each partition of the run, the sensor does the rest.

    A shard whose last attempt failed is asked for as a new attempt, with the records that are still unanswered; any
    other shard is asked for as it was, so that a job which exists already is adopted and nothing is paid twice.

    Args:
        retry_errors: Ask for answered shards in the same way as for failed ones.

    Raises:
        StaleShard: A shard has no prompts yet, or they were made of an earlier dataset.
        OverBudget: The launch may cost more than `budget_usd`.
        TooFewRecords: A shard has fewer records than Bedrock takes in a job, and `on_small` is `error`.
        ConfigError: The deployment has no place for one of the pipeline's models.
    """
    ledger, store, used = Ledger(pipeline.spec.name), regions.store, regions.used_by(pipeline.spec.targets)
    ledger.refresh(context.instance)
    keys = list(context.partition_keys)
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    shards = list(map_ordered(lambda key: current_shard(store, pipeline.spec.name, key), keys, N_READERS))
    _require_fresh(pipeline, raw, shards)
    terminal_states = TERMINAL_STATES | ({RequestState.ANSWERED} if retry_errors else set[RequestState]())
    requests = [request_or_resume(context, pipeline, regions, ledger, shard, terminal_states) for shard in shards]
    if isinstance(pipeline, Pipeline):
        done = [_is_answered(ledger, request) for request in requests]
        planned = [shard.key for shard in raw.shards] if raw else keys
        estimated = estimate_launch(pipeline, store, planned, list(zip(requests, shards, done, strict=True)))
        context.log.info(str(estimated))
        requests = list(estimated.requests)
    used.stage([request for request in requests if request.inference_mode is InferenceMode.BATCH])
    for request in requests:
        with announced(Effect.RECORD, RequestState.REQUESTED):
            context.log_event(ledger.record(request, RequestState.REQUESTED))
    context.log.info(f"asked for {len(keys)} shards with {sum(r.n_records for r in requests):,} records")
    return ledger


def _is_answered(ledger: Ledger, request: Request) -> bool:
    """Whether the same was answered before: it is read again, and not paid."""
    former = ledger.entries.get(request.shard)
    same = former and (former.request.fingerprint, former.request.attempt) == (request.fingerprint, request.attempt)
    return bool(same and former and former.state is RequestState.ANSWERED)


def _require_fresh(pipeline: Workload, raw: RawManifest | None, shards: Sequence[ShardManifest]) -> None:
    old = [shard.shard.key for shard in shards if raw and shard.raw_revision != raw.revision]
    if old:
        raise StaleShard(
            f"the prompts of {len(old)} shards ({', '.join(old[:3])}) were made of an earlier dataset, so their "
            f"answers could not be joined; materialize {pipeline.spec.name}/prompt_shards for them first"
        )


def request_or_resume(
    context: dg.AssetExecutionContext,
    pipeline: Workload,
    regions: Regions,
    ledger: Ledger,
    shard: ShardManifest,
    terminal_states: Set[RequestState] = TERMINAL_STATES,
) -> Request:
    """
    What the run asks for a shard; in the states *over* it is a new attempt for what is unanswered.

    Raises:
        TooFewRecords: It has fewer records than Bedrock takes in a job, and `on_small` is `error`.
    """
    first = Request(
        pipeline=pipeline.spec.name,
        shard=shard.shard.key,
        fingerprint=shard.fingerprint,
        attempt=1,
        prompts=shard.prompts,
        n_records=shard.n_records,
        inference_mode=mode_for(pipeline, shard.n_records) or _refuse(shard, pipeline),
        run_id=context.run.run_id,
        backfill_id=context.run.tags.get(BACKFILL_TAG),
        raw_revision=shard.raw_revision,
        blocked_by=int(shard.blocked_by, 16),
        last_attempt=pipeline.spec.max_attempts,
        folder=shard.folder,
    )
    former = ledger.entries.get(shard.shard.key)
    if former is None or former.request.fingerprint != shard.fingerprint:
        return first
    again = _resumed(pipeline, regions, shard, former) if former.state in terminal_states else former.request
    context.log.info(f"{again.shard}: attempt {again.attempt}, {again.n_records:,} records; was {former.state}")
    last_attempt = again.attempt + pipeline.spec.max_attempts - 1
    ours = {name: getattr(first, name) for name in ("run_id", "backfill_id", "raw_revision")}
    return dataclasses.replace(again, **ours, last_attempt=last_attempt)


def _resumed(pipeline: Workload, regions: Regions, shard: ShardManifest, former: Entry) -> Request:
    """The request for a shard that was asked for before with the same prompts."""
    request, arn = former.request, former.job_arn or ""
    begun = arn or request.inference_mode is InferenceMode.ON_DEMAND
    if not begun:
        # Where it was refused it need not go again.
        return dataclasses.replace(request, target="") if former.state is RequestState.FAILED else request
    if arn:
        regions.fetch(arn, job_folder(shard, request.attempt, arn), request.prompts)
    store = regions.store
    rows = collect(pipeline, store, shard, (*request.former_jobs, arn), "").rows
    # A person asks again: what was refused is asked again as well, but for rows that make no record.
    asked = pl.col("attempt").is_not_null() & (pl.col("answer_source") != ReusedFrom.DUPLICATE)
    left = rows.filter((pl.col("status") != "ok") & asked)["record_id"]
    return next_attempt(pipeline, store, shard, request, arn, left, violations(rows, left)) or request


def _refuse(shard: ShardManifest, pipeline: Workload) -> NoReturn:
    raise TooFewRecords(
        f"shard {shard.shard.key} has {shard.n_records} records, but Bedrock fails a job with fewer than "
        f"{pipeline.spec.limits.min_records_per_job}; set `on_small: on_demand` to have them answered one by one"
    )
