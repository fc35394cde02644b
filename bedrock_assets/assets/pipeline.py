"""The four assets of a pipeline: thin, each calls one stage and reports its numbers."""

import json
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from bedrock_assets.assets.approval import build_approved, observe_canary
from bedrock_assets.assets.cloudwatch import WorkloadMetrics
from bedrock_assets.assets.collect import CollectRun
from bedrock_assets.assets.descriptions import PROMPT_SHARDS, about_answers, about_raw, about_table
from bedrock_assets.assets.exports import build_exports
from bedrock_assets.assets.failures import sentence_first
from bedrock_assets.assets.gold import gold_metadata
from bedrock_assets.assets.metadata import raw_metadata, shard_metadata, shared_metadata, table_metadata
from bedrock_assets.assets.queued import QueuedCollectRuns
from bedrock_assets.assets.report import report_metadata
from bedrock_assets.assets.source import with_rows
from bedrock_assets.assets.versions import answers_version, prompts_version
from bedrock_assets.assets.wait import Watch
from bedrock_assets.config.asset_attributes import asset_path
from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.jobs.collect_runs import REQUEST_TAG
from bedrock_assets.jobs.enqueue import Launch
from bedrock_assets.jobs.event_log import materialize
from bedrock_assets.jobs.gate import approval_note
from bedrock_assets.jobs.partitions import partitions_of, planned_shards, register_shards
from bedrock_assets.jobs.rounds import upstream_keys
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.resources.tables import PIPELINE, location_tables
from bedrock_assets.shards.answer_cache import PromptIndex, read_prompt_index
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.keys import raw_manifest_key
from bedrock_assets.storage.manifests import RawManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table, readiness
from bedrock_assets.table.parts import prepare_part
from bedrock_assets.units import counted


class PromptShardsConfig(dg.Config):
    """How a launched run of `prompt_shards` behaves."""

    fresh: bool = Field(
        default=False, description="Send every row again, answered before or not; each of them is paid for again."
    )


class BatchOutputsConfig(dg.Config):
    """How a launched run of `batch_outputs` behaves."""

    wait: bool = Field(
        default=True, description="Stay until the shards are done and show progress; otherwise return at once."
    )
    poll_s: float = Field(default=15.0, gt=0, description="Seconds between two looks at the progress.")
    queued_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds after which this run does the work of a run that is queued to collect answers, because "
        "no run slot is free for it.",
    )
    retry_errors: bool = Field(
        default=False, description="Send rows of answered shards that have an error, or no answer, once more."
    )


def build_assets(pipeline: Pipeline, upstream: dg.AssetKey | None = None) -> list[dg.AssetsDefinition]:
    """
    `raw_dataset`, `prompt_shards`, `batch_outputs`, `joined_table`, what is exported from the table, and `approved`.

    Args:
        upstream: Key of the table of `source.pipeline`, if that has a `key_prefix`.
    """
    if upstream is None and pipeline.spec.source.pipeline:
        upstream = dg.AssetKey(asset_path(pipeline.spec.source.pipeline, "joined_table"))

    def prepare(store: Store, shard: str) -> None:
        prepare_part(store, pipeline, shard)

    outputs = build_batch_outputs(pipeline.workload, "prompt_shards", prepare, prompts_version(pipeline))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of an asset's own IO manager
        table = _joined_table(pipeline)
    person = [build_approved(pipeline)] if pipeline.spec.approval else []
    return [
        _raw_dataset(pipeline, upstream),
        _prompt_shards(pipeline),
        outputs,
        *person,
        table,
        *build_exports(pipeline),
    ]


def _raw_dataset(pipeline: Pipeline, upstream: dg.AssetKey | None) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("raw_dataset"),
        deps=upstream_keys(pipeline.spec, upstream),
        description=about_raw(pipeline.spec),
        metadata={"source": pipeline.source.describe()},
        **shared_metadata(pipeline.spec, {"polars", "parquet"}),
    )
    @sentence_first
    def raw_dataset(
        context: dg.AssetExecutionContext, bedrock_batch_store: StoreResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        manifest = ingest(with_rows(pipeline, context), opened)
        removed = register_shards(context.instance, pipeline.spec.name, [shard.key for shard in manifest.shards])
        context.log.info(
            f"{counted(manifest.n_rows, 'row')} in {counted(len(manifest.shards), 'shard')}; "
            f"removed {counted(len(removed), 'old shard')}"
        )
        facts = raw_metadata(pipeline, opened, manifest, upstream)
        # What the ledger reads is there even if what people read could not be made.
        facts |= {"revision": manifest.revision, "n_shards": len(manifest.shards)}
        yield from materialize("raw_dataset", facts, manifest.revision)

    return raw_dataset  # pyright: ignore[reportReturnType] - the decorator is untyped


def _prompt_shards(pipeline: Pipeline) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("prompt_shards"),
        deps=[pipeline.spec.key_of("raw_dataset")],
        partitions_def=partitions_of(pipeline.spec.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=PROMPT_SHARDS,
        metadata={"model": ", ".join(target.name for target in pipeline.spec.targets)},
        code_version=prompts_version(pipeline),
        **shared_metadata(pipeline.spec, {"polars", "jsonlines"}),
    )
    @sentence_first
    def prompt_shards(
        context: dg.AssetExecutionContext, config: PromptShardsConfig, bedrock_batch_store: StoreResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        raw = require_raw(opened, pipeline)
        fresh = context.run.run_id if config.fresh else ""
        index = PromptIndex() if config.fresh else read_prompt_index(opened, pipeline)
        for shard in planned_shards(raw.shards, sorted(context.partition_keys)):
            manifest = format_shard(pipeline, opened, raw, shard, index, fresh)
            told = {"fingerprint": manifest.fingerprint, "raw_revision": manifest.raw_revision}
            told["configuration"] = json.dumps(manifest.configuration)
            context.add_asset_metadata(shard_metadata(pipeline, opened, raw, manifest) | told, partition_key=shard.key)
        yield from materialize("prompt_shards", {})

    return prompt_shards  # pyright: ignore[reportReturnType] - the decorator is untyped


def build_batch_outputs(
    workload: Workload,
    upstream: str,
    on_answered: Callable[[Store, str], None] = lambda _store, _shard: None,
    upstream_version: str | None = None,
) -> dg.AssetsDefinition:
    """
    The answers to the shards that asset *upstream* makes.

    Args:
        on_answered: Called in the run that has published a shard's answers, before they are materialized.
        upstream_version: Code version of *upstream*, if it has one.
    """
    spec = workload.spec

    @dg.asset(
        key=spec.key_of("batch_outputs"),
        deps=[spec.key_of(upstream)],
        partitions_def=partitions_of(spec.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        description=about_answers(spec, upstream),
        metadata={"model": ", ".join(target.name for target in spec.targets), "pool": ", ".join(spec.pools)},
        code_version=answers_version(workload, upstream_version),
        **shared_metadata(spec, {"bedrock", "parquet"}),
    )
    @sentence_first
    def batch_outputs(
        context: dg.AssetExecutionContext,
        config: BatchOutputsConfig,
        bedrock_batch_store: StoreResource,
        bedrock_batch: BedrockResource,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        if REQUEST_TAG in context.run.tags:
            shard = context.partition_key
            if published := CollectRun(context, workload, opened, bedrock_batch, shard, context.run.tags).run():
                on_answered(opened, shard)
                observe_canary(context, opened, workload, shard)
                yield from materialize("batch_outputs", published.metadata, published.version)
            return
        regions = bedrock_batch.open(opened)
        launch = Launch(context, workload, regions, partial(bedrock_batch.open_runtime, brief=True))
        ledger = launch.enqueue(retry_errors=config.retry_errors)
        if config.wait:
            metrics = WorkloadMetrics.of(context, workload, bedrock_batch, regions)
            queued = QueuedCollectRuns(context, workload, opened, bedrock_batch, on_answered, config.queued_s)
            note = partial(approval_note, opened, spec, workload=workload)
            Watch(context, spec.name, ledger, regions, config.poll_s, queued, metrics, note).until_done()

    return batch_outputs  # pyright: ignore[reportReturnType] - the decorator is untyped


def _joined_table(pipeline: Pipeline) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("joined_table"),
        deps=[
            pipeline.spec.key_of("raw_dataset"),
            dg.AssetDep(pipeline.spec.key_of("batch_outputs"), partition_mapping=dg.AllPartitionMapping()),
        ],
        output_required=False,
        freshness_policy=_freshness(pipeline),
        code_version=answers_version(pipeline.workload, prompts_version(pipeline)),
        # Its own, as a resource of the code location would be one more to write down wherever the assets are used.
        io_manager_def=location_tables,
        metadata={PIPELINE: pipeline.spec.name},
        description=about_table(pipeline.spec),
        **shared_metadata(pipeline.spec, {"polars", "parquet"}),
    )
    @sentence_first
    def joined_table(
        context: dg.AssetExecutionContext, bedrock_batch_store: StoreResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        raw = opened.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
        not_ready = readiness(opened, pipeline, raw) if raw else "raw_dataset has not been materialized"
        if raw is None or not_ready:
            context.log.warning(f"no table yet: {not_ready}")
            return
        manifest = join_table(opened, pipeline, raw)
        facts = table_metadata(pipeline, opened, manifest) | {"raw_revision": raw.revision}
        facts |= gold_metadata(pipeline, opened, manifest) | report_metadata(pipeline, opened, manifest)
        yield from materialize("joined_table", facts, manifest.revision)

    return joined_table  # pyright: ignore[reportReturnType] - the decorator is untyped


def _freshness(pipeline: Pipeline) -> dg.FreshnessPolicy | None:
    hours = pipeline.spec.fresh_hours
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours)) if hours else None


def require_raw(store: Store, pipeline: Pipeline) -> RawManifest:
    """
    Raises:
        dagster.Failure: `raw_dataset` has not been materialized in this store.
    """
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    if raw is None:
        raise dg.Failure(f"materialize {pipeline.spec.name}/raw_dataset first; there is none in {store.root}")
    return raw
