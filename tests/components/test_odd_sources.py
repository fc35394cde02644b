"""A source that cannot be read stops its own pipeline, when it is read, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from bedrock_assets.components.batch import BatchInference
from bedrock_assets.errors import BedrockAssetsError
from tests.labs.instances import in_memory
from tests.labs.stages import HAIKU

TEXT = {"text": {"prompt": "Say {text}"}}


def zoned(path: Path) -> None:
    """A Parquet file that makes polars panic."""
    pq.write_table(pa.table({"text": ["a"], "at": pa.array([1], pa.timestamp("us", "+05:30"))}), path)


BAD: dict[str, Any] = {
    "empty.csv": lambda path: path.write_bytes(b""),
    "half.csv": lambda path: path.write_bytes(b'text,id\n"a'),
    "half.parquet": lambda path: path.write_bytes(b"PAR1\x00\x00"),
    "zoned.parquet": zoned,
    "broken.jsonl": lambda path: path.write_bytes(b'{"text":\n'),
    "gone.csv": lambda path: None,
    "other.csv": lambda path: path.write_bytes(b"words\nx\n"),
    "clash.csv": lambda path: path.write_bytes(b"text,status\nx,y\n"),
}


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.Definitions]:
    """A code location with one good pipeline, and one for each bad source."""
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", str(tmp_path / "bucket"))
    pl.DataFrame({"text": ["a", "b"]}).write_parquet(tmp_path / "good.parquet")
    for name, write in BAD.items():
        write(tmp_path / name)
    with create_defs_folder_sandbox() as sandbox:
        for name in ("good.parquet", *BAD):
            attributes = {"name": name.replace(".", "_"), "source": {"path": str(tmp_path / name)}, "task": TEXT}
            contents = {"type": "bedrock_assets.BatchInference", "attributes": attributes | {"model": HAIKU}}
            sandbox.scaffold_component(
                component_cls=BatchInference, defs_path=attributes["name"], defs_yaml_contents=contents
            )
        with sandbox.build_all_defs() as defs:
            yield defs


def test_one_bad_source_stops_only_its_own_pipeline(location: dg.Definitions) -> None:
    """The location loads, every other pipeline works, and the bad one's run fails with the source's name."""
    with in_memory() as instance:
        for name in ("good.parquet", *BAD):
            key = dg.AssetKey([name.replace(".", "_"), "raw_dataset"])
            asset = location.resolve_asset_graph().get(key).assets_def
            result = dg.materialize([asset], instance=instance, raise_on_error=False)
            assert result.success == (name == "good.parquet"), name
            if not result.success:
                error = result.failure_data_for_node(asset.node_def.name)
                assert error
                told = error.user_failure_data
                assert told
                assert told.metadata["kind"].value in {kind.__name__ for kind in subclasses(BedrockAssetsError)}, name
                assert name in (told.description or "") or name in ("other.csv", "clash.csv")


def subclasses(kind: type[BaseException]) -> set[type[BaseException]]:
    """All classes below *kind*."""
    return {kind, *(below for child in kind.__subclasses__() for below in subclasses(child))}
