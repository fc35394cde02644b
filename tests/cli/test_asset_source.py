"""Commands over a source that is an asset: they read its file, as the instance names it, or say what they need."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

from bedrock_assets.cli.app import app
from bedrock_assets.components.load import load_pipeline
from tests.labs.instances import settle
from tests.labs.stages import HAIKU, texts

COMMANDS = ("plan", "estimate", "sample")


class Desk:
    """A pipeline's YAML and a Dagster instance, which the environment names."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        settle(folder / "dagster")
        environment = {
            "DAGSTER_HOME": str(folder / "dagster"),
            "BEDROCK_ASSETS_STORE": str(folder / "bucket"),
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ENDPOINT_URL_BEDROCK": "http://127.0.0.1:9",
        }
        for name, value in environment.items():
            patch.setenv(name, value)

    def run(self, command: str, *options: str, **source: Any) -> Result:
        """A command over the pipeline `calls`."""
        attributes = {
            "name": "calls",
            "source": {"id_column": "id", **source},
            "model": HAIKU,
            "task": {"text": {"prompt": "Say {text}"}},
            "limits": {"min_records_per_job": 1, "max_jobs": 1},
        }
        path = self.folder / "defs.yaml"
        path.write_text(yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": attributes}))
        return CliRunner().invoke(app, [command, str(path), *options])

    def materialize(self, asset: dg.AssetsDefinition, partition: str | None = None) -> None:
        """One run of an asset."""
        with dg.DagsterInstance.from_config(str(self.folder / "dagster")) as instance:
            assert dg.materialize([asset], instance=instance, partition_key=partition).success


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Nothing is materialized yet."""
    return Desk(tmp_path, monkeypatch)


def exporting(folder: Path) -> dg.AssetsDefinition:
    """An asset that writes a file and names it."""

    @dg.asset
    def reviews() -> dg.MaterializeResult[Any]:
        texts(5).write_parquet(folder / "reviews.parquet")
        return dg.MaterializeResult(metadata={"dagster/uri": str(folder / "reviews.parquet")})

    return reviews


def n_rows(result: Result, command: str) -> int:
    """How many rows a command read."""
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    return len(told) if command == "sample" else told["rows" if command == "plan" else "n_rows"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_metadata_name(desk: Desk, command: str) -> None:
    """Once the asset is materialized, its file is read."""
    before = desk.run(command, asset="reviews")
    assert before.exit_code == 2
    assert "source.asset reviews has never been materialized in this Dagster instance; materialize it" in before.output
    desk.materialize(exporting(desk.folder))
    options = ("--json", "-n", "5") if command == "sample" else ("--json",)
    assert n_rows(desk.run(command, *options, asset="reviews"), command) == 5


@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_needs_no_instance(desk: Desk, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `path` nobody is asked where the file is."""
    monkeypatch.delenv("DAGSTER_HOME")
    texts(5).write_csv(desk.folder / "reviews.csv")
    options = ("--json", "-n", "5") if command == "sample" else ("--json",)
    found = desk.run(command, *options, asset="reviews", path=str(desk.folder / "reviews.csv"))
    assert n_rows(found, command) == 5


@pytest.mark.parametrize("command", COMMANDS)
def test_a_value(desk: Desk, command: str) -> None:
    """A value is for runs; the message says what to do instead, and no traceback is shown."""

    @dg.asset
    def reviews() -> pl.DataFrame:
        return texts(5)

    desk.materialize(reviews)
    for through in (None, "value"):
        result = desk.run(command, asset="reviews", through=through)
        assert result.exit_code == 2
        told = "the rows are its value, which only a run loads; materialize calls/raw_dataset instead"
        assert f"source.asset reviews: {told}" in result.output
        assert "Traceback" not in result.output


def test_without_an_instance(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DAGSTER_HOME the command says that it needs one, and an option names a local stack's."""
    monkeypatch.delenv("DAGSTER_HOME")
    result = desk.run("plan", asset="reviews")
    assert result.exit_code == 2
    assert "DAGSTER_HOME is not set" in result.output
    assert "--home" in result.output


def test_partitions(desk: Desk) -> None:
    """The files of all partitions that are materialized are read, in the order of their keys."""

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["b", "a", "c"]))
    def daily(context: dg.AssetExecutionContext) -> None:
        path = desk.folder / f"{context.partition_key}.parquet"
        pl.DataFrame({"id": [context.partition_key], "text": ["x"]}).write_parquet(path)
        context.add_output_metadata({"dagster/uri": str(path)})

    for key in ("b", "a"):
        desk.materialize(daily, key)
    samples = json.loads(desk.run("sample", "--json", asset="daily").stdout)
    assert [sample["record_id"] for sample in samples] == ["a", "b"]


def test_partitions_of_the_past(desk: Desk) -> None:
    """An asset that has no partitions any more is read as its last materialization is."""

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a"]), name="reviews")
    def once(context: dg.AssetExecutionContext) -> None:
        context.add_output_metadata({"dagster/uri": "/nowhere/old.parquet"})

    desk.materialize(once, "a")
    desk.materialize(exporting(desk.folder))
    assert n_rows(desk.run("plan", "--json", asset="reviews"), "plan") == 5


def test_a_new_pipeline(desk: Desk) -> None:
    """`new --source asset:KEY` writes a pipeline over the asset, which loads."""
    named = {"--source": "asset:shop/reviews", "--model": HAIKU, "--prompt": "Say {text}", "--defs": str(desk.folder)}
    result = CliRunner().invoke(app, ["new", "calls", *[word for option in named.items() for word in option]])
    assert result.exit_code == 0, result.output
    assert load_pipeline(str(desk.folder / "calls" / "defs.yaml")).spec.source.asset == ("shop", "reviews")
