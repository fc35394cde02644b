"""The page about the table's readers: its code runs as it stands, and its messages are the code's."""

import re
from typing import Any

import dagster as dg
import polars as pl
import pytest

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.resources.environment import resources
from bedrock_assets.resources.tables import _CONVERSIONS
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.docs.blocks import CODE, DOCS, code_of, messages_of
from tests.labs.instances import in_memory
from tests.labs.stages import MakePipeline, Stages, texts

PAGE = (DOCS / "downstream.md").read_text("utf-8")


@pytest.fixture
def names(store: Store, make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's code defines, run from the top where the environment names a store with the table."""
    stages = Stages.of(make_pipeline(texts(10), id_column="id"), store)
    stages.answer_all(lambda record_id: f"Unhappy caller {record_id}" if record_id == "c3" else "A caller")
    join_table(store, stages.pipeline, stages.raw)
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", store.url)
    found: dict[str, Any] = {"pipeline": stages.pipeline}
    for block in code_of(PAGE):
        exec(block.replace("s3://my-bucket/batch", store.url), found)  # noqa: S102 - the page's own code
    return found


def test_a_notebook(names: dict[str, Any]) -> None:
    """The answered rows, from the default store and from one that is named."""
    assert names["answers"].shape == (10, 2)
    assert names["calls"].select(pl.len()).collect().item() == 10


def test_the_same_location(names: dict[str, Any]) -> None:
    """Both assets load and have the rows, with no resource but those that come along."""
    assets = [*build_assets(names["pipeline"]), names["unhappy"], names["lengths"]]
    definitions = dg.Definitions(assets=assets, resources=resources())
    with in_memory() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        selection = [dg.AssetKey("unhappy"), dg.AssetKey("lengths")]
        result = job.execute_in_process(instance=instance, asset_selection=selection)
        assert result.output_for_node("unhappy")["id"].to_list() == ["c3"]
        assert len(result.output_for_node("lengths")) == 10


def test_another_location(names: dict[str, Any]) -> None:
    """The definitions load as they are, and with a store that is named."""
    definitions = names["defs"]
    dg.Definitions.validate_loadable(definitions)
    named = dg.Definitions(assets=definitions.assets, resources={"bedrock_batch_tables": names["tables"]})
    for location in (definitions, named):
        with in_memory() as instance:
            result = location.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
            assert result.output_for_node("per_status").rows() == [("ok", 10)]


def test_its_types_are_all() -> None:
    """Each type that a parameter may have is in the table, and no other."""
    aliases = {"pl": "polars", "pd": "pandas", "pa": "pyarrow", "duckdb": "duckdb"}
    told = re.findall(r"^\| `(\w+)\.(\w+)`", PAGE, re.MULTILINE)
    assert {(aliases[module], name) for module, name in told} == {*_CONVERSIONS, ("polars", "LazyFrame")}


@pytest.mark.parametrize("message", messages_of(PAGE))
def test_a_message_is_said_by_the_code(message: str) -> None:
    """Each message of the page stands in the code."""
    assert message in CODE
