"""A user's assets before and after the pipeline, in two code locations of a real stack: value in, table out."""

import time
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, DagsterInstance

from bedrock_assets import scan_table
from bedrock_assets.local.stack import Settings, local_stack
from bedrock_assets.local.ui import DagsterUI

N_ROWS = 120
FILES = {
    "shop/pyproject.toml": """\
[project]
name = "shop"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"
""",
    "shop/shop/__init__.py": "",
    "shop/shop/definitions.py": """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
    "shop/shop/defs/__init__.py": "",
    "shop/shop/defs/calls/defs.yaml": """\
type: bedrock_assets.BatchInference
attributes:
  name: calls
  source: {asset: shop/ratings, id_column: id}
  model: amazon.nova-lite-v1:0
  task: {text: {prompt: "Summarise: {text}", max_tokens: 64}}
""",
    "shop/shop/defs/mine.py": f"""\
import dagster as dg
import duckdb
import polars as pl


@dg.asset(key=["shop", "ratings"])
def ratings() -> pl.DataFrame:
    numbers = range({N_ROWS})
    return pl.DataFrame({{"id": [f"c{{i}}" for i in numbers], "text": [f"Lamp {{i}}." for i in numbers]}})


@dg.asset(group_name="calls")
def answered(joined_table: duckdb.DuckDBPyRelation) -> dg.MaterializeResult:
    [(count,)] = joined_table.filter("status = 'ok'").count("*").fetchall()
    return dg.MaterializeResult(metadata={{"n_answered": count}})
""",
    "reports.py": """\
import dagster as dg
import polars as pl

from bedrock_assets import TableIOManager


@dg.asset(ins={"calls": dg.AssetIn(["calls", "joined_table"])})
def report(calls: pl.LazyFrame) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"n_rows": calls.select(pl.len()).collect().item()})


table = dg.AssetSpec(["calls", "joined_table"]).with_io_manager_key("bedrock_batch_tables")
defs = dg.Definitions(assets=[table, report], resources={"bedrock_batch_tables": TableIOManager()})
""",
}


def workspace(folder: Path) -> Path:
    """The files of both locations, and the workspace that has them."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    locations = {"shop": ("shop.definitions", folder / "shop"), "reports": ("reports", folder)}
    modules = [
        {"python_module": {"module_name": module, "location_name": name, "working_directory": str(source)}}
        for name, (module, source) in locations.items()
    ]
    path = folder / "workspace.yaml"
    path.write_text(yaml.safe_dump({"load_from": modules}))
    return path


def run(ui: DagsterUI, *key: str) -> None:
    """Launch a run of an asset, and wait for its success."""
    run_id = ui.materialize(key)
    assert ui.wait_for_run(run_id) == "SUCCESS", ui.failures(run_id)


@pytest.mark.slow
def test_before_and_after(tmp_path: Path) -> None:
    """An asset's value is answered; assets of both locations take the table, and a script opens it."""
    settings = Settings(tmp_path / "home", speed=5000, workspace=workspace(tmp_path))
    with local_stack(settings) as stack:
        shop, reports = DagsterUI(stack.ui_url, "shop"), DagsterUI(stack.ui_url, "reports")
        shop.wait_until_loaded(stack.require_alive)
        first = shop.materialize(["calls", "raw_dataset"])
        assert shop.wait_for_run(first) == "FAILURE"
        assert any("source.asset shop/ratings has never been materialized" in told for told in shop.failures(first))
        run(shop, "shop", "ratings")
        run(shop, "calls", "raw_dataset")
        with DagsterInstance.from_config(str(stack.home / "dagster")) as instance:
            shards = list(instance.get_dynamic_partitions("calls_shards"))
            backfill = shop.backfill(
                [["calls", asset] for asset in ("prompt_shards", "batch_outputs", "joined_table")],
                shards,
                {"ops": {"calls__batch_outputs": {"config": {"poll_s": 1.0}}}},
            )
            while shop.backfill_status(backfill)[0] == "REQUESTED":
                stack.require_alive()
                time.sleep(0.5)
            assert shop.backfill_status(backfill)[0] == "COMPLETED_SUCCESS"
            run(shop, "answered")
            run(reports, "report")
            for asset, name in (("answered", "n_answered"), ("report", "n_rows")):
                event = instance.get_latest_materialization_event(AssetKey(asset))
                assert event
                assert event.asset_materialization
                assert event.asset_materialization.metadata[name].value == N_ROWS
        rows = scan_table("calls", stack.store).select("id", "status").collect()
    assert rows.rows() == [(f"c{i}", "ok") for i in range(N_ROWS)]
