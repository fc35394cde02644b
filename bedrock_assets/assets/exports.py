"""Assets made from the joined table, if a pipeline asks for them: `preferences`, and one for each sink."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from bedrock_assets.assets.failures import sentence_first
from bedrock_assets.assets.metadata import preferences_metadata, shared_metadata
from bedrock_assets.jobs.event_log import materialize
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.sinks import Sent, Sink, sinks_of
from bedrock_assets.storage.keys import table_manifest_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.preferences import join_preferences


def build_exports(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """Of a comparison `preferences`, and of each sink its asset, such as `sql_table`."""
    spec = pipeline.spec
    preferences = [_preferences(pipeline)] if spec.task.compare else []
    return [*preferences, *(_sink_asset(pipeline, sink) for sink in sinks_of(spec))]


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
        yield from materialize("preferences", preferences_metadata(pipeline, opened, joined), table.revision)

    return preferences  # pyright: ignore[reportReturnType] - the decorator is untyped


def _sink_asset(pipeline: Pipeline, sink: Sink) -> dg.AssetsDefinition:
    @dg.asset(
        key=pipeline.spec.key_of(sink.asset),
        deps=[pipeline.spec.key_of("joined_table")],
        automation_condition=dg.AutomationCondition.eager() if sink.is_automatic else None,
        description=sink.description,
        **shared_metadata(pipeline.spec, {*sink.kinds}),
    )
    @sentence_first
    def written(bedrock_batch_store: StoreResource) -> Iterator[dg.MaterializeResult[Any]]:
        opened = bedrock_batch_store.open()
        table = require_table(opened, pipeline)
        sent = sink.publish(opened, pipeline, table)
        yield from materialize(sink.asset, _metadata(sent, table), table.revision)

    return written  # pyright: ignore[reportReturnType] - the decorator is untyped


def _metadata(sent: Sent, table: TableManifest) -> dict[str, Any]:
    more = {name: dg.MetadataValue.url(str(value)) if name == "url" else value for name, value in sent.more.items()}
    return {
        "dagster/uri": sent.address,
        **more,
        "dagster/row_count": sent.n_rows,
        "rows": f"{sent.n_written:,} written, {sent.n_deleted:,} deleted, {sent.n_unchanged:,} unchanged",
        "revision": table.revision,
        "n_written": sent.n_written,
        "n_deleted": sent.n_deleted,
        "n_unchanged": sent.n_unchanged,
    }


def require_table(store: Store, pipeline: Pipeline) -> TableManifest:
    """
    Raises:
        dagster.Failure: `joined_table` has not been materialized in this store.
    """
    table = store.read_model(table_manifest_key(pipeline.spec.name), TableManifest)
    if table is None:
        raise dg.Failure(f"materialize {pipeline.spec.name}/joined_table first; there is none in {store.root}")
    return table
