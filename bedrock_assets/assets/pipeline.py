"""The four assets of a pipeline: thin, each calls one stage and reports its numbers."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from bedrock_assets.assets.cloudwatch import WorkloadMetrics
from bedrock_assets.assets.collect import CollectRun
from bedrock_assets.assets.exports import build_exports
from bedrock_assets.assets.metadata import raw_metadata, shard_metadata, shared_metadata, table_metadata
from bedrock_assets.assets.versions import answers_version, prompts_version
from bedrock_assets.assets.wait import Watch
from bedrock_assets.config.asset_attributes import asset_path
from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.jobs.collect_runs import JOINED_TAG, REQUEST_TAG
from bedrock_assets.jobs.enqueue import Launch
from bedrock_assets.jobs.event_log import materialize
from bedrock_assets.jobs.partitions import partitions_of, planned_shards, register_shards
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.shards.answer_cache import PromptIndex, read_prompt_index
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.keys import raw_manifest_key
from bedrock_assets.storage.manifests import RawManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table, readiness
from bedrock_assets.table.parts import prepare_part


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
    retry_errors: bool = Field(
        default=False, description="Send rows of answered shards that have an error, or no answer, once more."
    )


def build_assets(pipeline: Pipeline, upstream: dg.AssetKey | None = None) -> list[dg.AssetsDefinition]:
    """
    `raw_dataset`, `prompt_shards`, `batch_outputs`, `joined_table`, and what is exported from the table.

    Args:
        upstream: Key of the table of `source.pipeline`, if that has a `key_prefix`.
    """
    if upstream is None and pipeline.spec.source.pipeline:
        upstream = dg.AssetKey(asset_path(pipeline.spec.source.pipeline, "joined_table"))

    def prepare(store: Store, shard: str) -> None:
        prepare_part(store, pipeline, shard)

    outputs = build_batch_outputs(pipeline.workload, "prompt_shards", prepare, prompts_version(pipeline))
    assets = [_raw_dataset(pipeline, upstream), _prompt_shards(pipeline), outputs, _joined_table(pipeline)]
    return [*assets, *build_exports(pipeline)]


def _raw_dataset(pipeline: Pipeline, upstream: dg.AssetKey | None) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("raw_dataset"),
        deps=[upstream] if upstream else [],
        description=f"{pipeline.spec.description or ''}\n\nThe input as Parquet, with a record id on every row; "
        "plans and registers the shards.",
        metadata={"source": pipeline.source.describe()},
        **shared_metadata(pipeline.spec, {"polars", "parquet"}),
    )
    def raw_dataset(
        context: dg.AssetExecutionContext, bedrock_batch_store: StoreResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        manifest = ingest(pipeline, opened)
        removed = register_shards(context.instance, pipeline.spec.name, [shard.key for shard in manifest.shards])
        context.log.info(
            f"{manifest.n_rows:,} rows in {len(manifest.shards)} shards; removed {removed or 'no'} old shards"
        )
        facts = raw_metadata(pipeline, opened, manifest, upstream)
        yield from materialize("raw_dataset", facts, manifest.revision)

    return raw_dataset  # pyright: ignore[reportReturnType] - the decorator is untyped


def _prompt_shards(pipeline: Pipeline) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("prompt_shards"),
        deps=[pipeline.spec.key_of("raw_dataset")],
        partitions_def=partitions_of(pipeline.spec.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="Each shard's prompts as the JSONL file that Bedrock reads, within every quota.",
        metadata={"model": ", ".join(target.name for target in pipeline.spec.targets)},
        code_version=prompts_version(pipeline),
        **shared_metadata(pipeline.spec, {"polars", "jsonlines"}),
    )
    def prompt_shards(
        context: dg.AssetExecutionContext, config: PromptShardsConfig, bedrock_batch_store: StoreResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        raw = require_raw(opened, pipeline)
        fresh = context.run.run_id if config.fresh else ""
        index = PromptIndex() if config.fresh else read_prompt_index(opened, pipeline)
        for shard in planned_shards(raw.shards, sorted(context.partition_keys)):
            manifest = format_shard(pipeline, opened, raw, shard, index, fresh)
            context.add_asset_metadata(shard_metadata(opened, manifest), partition_key=shard.key)
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
    pools = " and ".join(f"pool `{pool}`" for pool in spec.pools)

    @dg.asset(
        key=spec.key_of("batch_outputs"),
        deps=[spec.key_of(upstream)],
        partitions_def=partitions_of(spec.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        description="The model's answers, one row for each input row. Launching requests the shards; the sensor "
        f"submits them under the limit of {pools} and completes each partition when its job ends.",
        metadata={"model": ", ".join(target.name for target in spec.targets), "pool": ", ".join(spec.pools)},
        code_version=answers_version(workload, upstream_version),
        **shared_metadata(spec, {"bedrock", "parquet"}),
    )
    def batch_outputs(
        context: dg.AssetExecutionContext,
        config: BatchOutputsConfig,
        bedrock_batch_store: StoreResource,
        bedrock_batch: BedrockResource,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        if REQUEST_TAG in context.run.tags:
            for result in CollectRun(context, workload, opened, bedrock_batch).run():
                on_answered(opened, context.partition_key)
                yield result
            return
        regions = bedrock_batch.open(opened)
        ledger = Launch(context, workload, regions).enqueue(retry_errors=config.retry_errors)
        if config.wait:
            metrics = WorkloadMetrics.of(context, workload, bedrock_batch, regions)
            Watch(context, spec.name, ledger, regions, config.poll_s, metrics).until_done()

    return batch_outputs  # pyright: ignore[reportReturnType] - the decorator is untyped


def _joined_table(pipeline: Pipeline) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("joined_table"),
        deps=[
            pipeline.spec.key_of("raw_dataset"),
            dg.AssetDep(pipeline.spec.key_of("batch_outputs"), partition_mapping=dg.AllPartitionMapping()),
        ],
        output_required=False,
        automation_condition=when_all_shards_are_in(pipeline.spec.key_of("batch_outputs")),
        freshness_policy=_freshness(pipeline),
        code_version=answers_version(pipeline.workload, prompts_version(pipeline)),
        description="The final table: every input column unchanged, then the answer.",
        **shared_metadata(pipeline.spec, {"polars", "parquet"}),
    )
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
        yield from materialize("joined_table", table_metadata(pipeline, opened, manifest), manifest.revision)

    return joined_table  # pyright: ignore[reportReturnType] - the decorator is untyped


def _freshness(pipeline: Pipeline) -> dg.FreshnessPolicy | None:
    hours = pipeline.spec.fresh_hours
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours)) if hours else None


def when_all_shards_are_in(outputs: Sequence[str]) -> dg.AutomationCondition[Any]:
    """Once a round: when every registered shard is answered after its last prompts, and nothing is in progress."""
    condition = dg.AutomationCondition
    joined_by_backfill = condition.all_new_updates_have_run_tags(tag_values={JOINED_TAG: "true"})
    answers = dg.AssetSelection.assets(dg.AssetKey(outputs))
    answered = condition.any_deps_match(condition.newly_updated() & ~joined_by_backfill).allow(answers)
    older_than_prompts = condition.any_deps_updated().since(condition.newly_updated())
    return (
        answered.since(condition.newly_requested())
        & ~condition.any_deps_missing()
        & ~condition.any_deps_match(older_than_prompts)
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    )


def require_raw(store: Store, pipeline: Pipeline) -> RawManifest:
    """
    Raises:
        dagster.Failure: `raw_dataset` has not been materialized in this store.
    """
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    if raw is None:
        raise dg.Failure(f"materialize {pipeline.spec.name}/raw_dataset first; there is none in {store.root}")
    return raw
