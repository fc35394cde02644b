"""Each sink is an asset after the table, in a real Dagster instance: who starts it, what it tells, and how it fails."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.sensors.jobs import build_sensors
from bedrock_assets.sinks import SINKS, sinks_of
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.instances import open_instance
from tests.labs.postgres import PASSWORD
from tests.labs.stages import HAIKU, MakePipeline, Stages, texts

ALL: dict[str, Any] = {
    "delta": "delta",
    "hub": "acme/calls",
    "sinks": {
        "sql": {"connection": "duckdb:///out.duckdb", "table": "calls"},
        "iceberg": {"table": "shop.calls"},
        "lancedb": {"path": "lance", "table": "calls"},
        "s3_vectors": {"bucket": "vectors", "index": "calls"},
    },
}


def run(pipeline: Pipeline, store: Store, instance: dg.DagsterInstance, asset: str) -> dg.ExecuteInProcessResult:
    """Materialize one asset."""
    resources = {
        "bedrock_batch_store": StoreResource(url=store.root),
        "bedrock_batch": dg.ResourceDefinition.none_resource(),
    }
    return dg.materialize(
        build_assets(pipeline),
        selection=[dg.AssetKey(pipeline.spec.key_of(asset))],
        instance=instance,
        resources=resources,
        raise_on_error=False,
    )


def built(make_pipeline: MakePipeline, store: Store, **spec: Any) -> Pipeline:
    """A pipeline with a table of three rows."""
    stages = Stages.of(make_pipeline(texts(3), id_column="id", model=HAIKU, **spec), store)
    stages.answer_all()
    join_table(store, stages.pipeline, stages.raw)
    return stages.pipeline


def test_all_are_assets(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    """One for each key; once the table is built, all follow by themselves but the hub's, which others may read."""
    pipeline = make_pipeline(texts(3), **ALL)
    assert [sink.asset for sink in sinks_of(pipeline.spec)] == [sink.asset for sink in SINKS.values()]
    assets = build_assets(pipeline)
    with open_instance(tmp_path / "home") as instance:
        none = dg.ResourceDefinition.none_resource()
        defs = dg.Definitions(assets, resources={"bedrock_batch_store": none, "bedrock_batch": none})
        first = dg.evaluate_automation_conditions(defs, instance)
        instance.report_runless_asset_event(dg.AssetMaterialization(pipeline.spec.key_of("joined_table")))
        second = dg.evaluate_automation_conditions(defs, instance, cursor=first.cursor)
        named = [sink for sink in SINKS.values() if sink.is_automatic]
        requested = {
            sink.asset for sink in named if second.get_num_requested(dg.AssetKey(pipeline.spec.key_of(sink.asset)))
        }
        assert requested == {"delta_table", "sql_table", "iceberg_table", "lance_table", "s3_vectors"}
    (sensor,) = [one for one in build_sensors([pipeline], 30) if one.name == "exports_sensor"]
    assert sensor.asset_selection
    assert {key.path[-1] for key in sensor.asset_selection.resolve(assets)} == requested
    assert not [one for one in build_sensors([make_pipeline(texts(3))], 30) if one.name == "exports_sensor"]


def test_what_it_tells(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """Where the rows are, and how many were written, deleted and left; the data version is the table's revision."""
    pipeline = built(make_pipeline, store, sinks={"sql": {"connection": "duckdb:///out.duckdb", "table": "calls"}})
    with open_instance(tmp_path / "home") as instance:
        for written in (3, 0):
            assert run(pipeline, store, instance, "sql_table").success
            event = instance.get_latest_materialization_event(dg.AssetKey(["calls", "sql_table"]))
            assert event
            assert event.asset_materialization
            metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
            assert metadata["dagster/uri"] == "duckdb:///out.duckdb#calls"
            assert metadata["rows"] == f"{written} written, 0 deleted, {3 - written} unchanged"
            assert (metadata["dagster/row_count"], metadata["n_written"]) == (3, written)
            assert (event.asset_materialization.tags or {})["dagster/data_version"] == metadata["revision"]


def test_a_failure_tells_no_secret(
    server: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sentence is first, and neither the log of the run nor the event log has the password."""
    pipeline = built(make_pipeline, store, sinks={"sql": {"connection_env": "OUT", "table": "no_such.calls"}})
    with open_instance(tmp_path / "home") as instance:
        for uri in (server, server.replace(PASSWORD, "wrong-secret")):
            monkeypatch.setenv("OUT", uri)
            result = run(pipeline, store, instance, "sql_table")
            assert not result.success
            told = [repr(entry) for entry in instance.all_logs(result.run_id)]
            assert [text for text in told if "sinks.sql: table no_such.calls cannot be written" in text]
            assert not [text for text in told if PASSWORD in text or "wrong-secret" in text]
