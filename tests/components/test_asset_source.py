"""A defs.yaml whose source is an asset: its place in the graph, and what is wrong told by file and key at load."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from bedrock_assets.components.batch import BatchInference
from tests.labs.stages import HAIKU

RAW, TABLE = dg.AssetKey(["calls", "raw_dataset"]), dg.AssetKey(["calls", "joined_table"])


@contextmanager
def loaded(source: dict[str, Any]) -> Iterator[dg.Definitions]:
    """The definitions of a folder with the pipeline `calls`."""
    attributes = {"name": "calls", "model": HAIKU, "source": source, "task": {"text": {"prompt": "Say {text}"}}}
    contents = {"type": "bedrock_assets.BatchInference", "attributes": attributes}
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(component_cls=BatchInference, defs_path="calls", defs_yaml_contents=contents)
        with sandbox.build_all_defs() as defs:
            yield defs


@pytest.mark.parametrize("key", ["reviews", "shop/reviews", ["shop", "reviews"]])
def test_the_graph(key: Any) -> None:
    """The asset is above `raw_dataset`, whether it is defined in the location or not."""
    expected = dg.AssetKey(key.split("/") if isinstance(key, str) else key)

    @dg.asset(key=expected)
    def mine() -> None: ...

    with loaded({"asset": key, "deps": ["first"]}) as defs:
        for definitions in (defs, dg.Definitions.merge(defs, dg.Definitions(assets=[mine]))):
            dg.Definitions.validate_loadable(definitions)
            graph = definitions.resolve_asset_graph()
            assert graph.get(RAW).parent_keys == {expected, dg.AssetKey("first")}


def test_a_downstream_asset() -> None:
    """The table of a component's pipeline is a parameter without any resource of the user's."""

    @dg.asset(group_name="calls")
    def mine(joined_table: Any) -> None: ...

    with loaded({"asset": "reviews"}) as defs:
        definitions = dg.Definitions.merge(defs, dg.Definitions(assets=[mine]))
        dg.Definitions.validate_loadable(definitions)
        assert definitions.resolve_asset_graph().get(mine.key).parent_keys == {TABLE}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"asset": "reviews", "through": "file"}, "through"),
        ({"asset": "reviews", "chitchat": {}}, "asset and chitchat are two sources"),
        ({"asset": 7}, "asset"),
        ({"aset": "reviews"}, "did you mean asset?"),
        ({"asset": "reviews", "partition": "all"}, "did you mean partitions?"),
    ],
)
def test_what_is_wrong(source: dict[str, Any], told: str) -> None:
    """A key that cannot be is told with the file and the key."""
    with loaded(source) as defs:
        graph = defs.resolve_asset_graph()
        said = graph.get(dg.AssetKey(["calls", "raw_dataset"])).description or ""
    assert told in said
    assert "calls/defs.yaml" in said


def test_itself() -> None:
    """A pipeline whose source is its own table is a circle, which Dagster refuses."""
    with loaded({"asset": "calls/joined_table"}) as defs, pytest.raises(Exception, match="ircular"):
        dg.Definitions.validate_loadable(defs)
