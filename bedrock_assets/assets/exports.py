"""Assets made from the joined table, if a pipeline asks for them: `preferences`, `delta_table`, `hub_dataset`."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from bedrock_assets.assets.failures import sentence_first
from bedrock_assets.assets.metadata import preferences_metadata, shared_metadata
from bedrock_assets.jobs.event_log import materialize
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.keys import table_manifest_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.delta import publish_delta
from bedrock_assets.table.hub import push_table
from bedrock_assets.table.preferences import join_preferences


def build_exports(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """Of a comparison `preferences`, with `delta:` `delta_table`, with `hub:` `hub_dataset`."""
    spec = pipeline.spec
    wanted = {_preferences: spec.task.compare, _delta_table: spec.delta, _hub_dataset: spec.hub}
    return [build(pipeline) for build, setting in wanted.items() if setting]


def _preferences(pipeline: Pipeline) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("preferences"),
        deps=[pipeline.spec.key_of("joined_table")],
        automation_condition=dg.AutomationCondition.eager(),
        description="Which of the two texts is preferred, one row for each row of the input.",
        **shared_metadata(pipeline.spec, {"polars", "parquet"}),
    )
    @sentence_first
    def preferences(bedrock_batch_store: StoreResource) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        table = require_table(opened, pipeline)
        joined = join_preferences(opened, pipeline, table)
        yield from materialize("preferences", preferences_metadata(opened, joined), table.revision)

    return preferences  # pyright: ignore[reportReturnType] - the decorator is untyped


def _delta_table(pipeline: Pipeline) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("delta_table"),
        deps=[pipeline.spec.key_of("joined_table")],
        automation_condition=dg.AutomationCondition.eager(),
        description="The joined table as a Delta table; each build is a version.",
        **shared_metadata(pipeline.spec, {"delta"}),
    )
    @sentence_first
    def delta_table(bedrock_batch_store: StoreResource) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        table = require_table(opened, pipeline)
        published = publish_delta(opened, pipeline, table)
        metadata = {"dagster/row_count": published.n_rows, "dagster/uri": published.uri, "version": published.version}
        yield from materialize("delta_table", metadata, table.revision)

    return delta_table  # pyright: ignore[reportReturnType] - the decorator is untyped


def _hub_dataset(pipeline: Pipeline) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of("hub_dataset"),
        deps=[pipeline.spec.key_of("joined_table")],
        description=f"The joined table as dataset `{pipeline.spec.hub}` of the Hugging Face hub. Nobody but you "
        "materializes it: what it publishes may be read by others.",
        **shared_metadata(pipeline.spec, {"huggingface"}),
    )
    @sentence_first
    def hub_dataset(bedrock_batch_store: StoreResource) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        table = require_table(opened, pipeline)
        pushed = push_table(opened, pipeline, table)
        metadata = {
            "dagster/row_count": pushed.n_rows,
            "url": dg.MetadataValue.url(pushed.url),
            "commit": pushed.commit,
        }
        yield from materialize("hub_dataset", metadata, table.revision)

    return hub_dataset  # pyright: ignore[reportReturnType] - the decorator is untyped


def require_table(store: Store, pipeline: Pipeline) -> TableManifest:
    """
    Raises:
        dagster.Failure: `joined_table` has not been materialized in this store.
    """
    table = store.read_model(table_manifest_key(pipeline.spec.name), TableManifest)
    if table is None:
        raise dg.Failure(f"materialize {pipeline.spec.name}/joined_table first; there is none in {store.root}")
    return table
