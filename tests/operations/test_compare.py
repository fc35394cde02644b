"""Two tables over the same rows: how far they agree, and which rows to read."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from bedrock_assets.cli.app import app
from bedrock_assets.errors import ConfigError
from bedrock_assets.operations.compare import compare_tables
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import MakePipeline, Stages, texts

N_ROWS = 10


def publish(pipeline: Pipeline, store: Store, answers: dict[str, str], name: str) -> Pipeline:
    """The table of a pipeline whose rows have these answers, under another name."""
    stages = Stages.of(pipeline, store)
    stages.answer_all(lambda record_id: answers.get(record_id, "yes"))
    join_table(store, pipeline, stages.raw)
    root = Path(store.root)
    shutil.move(root / "calls", root / name)
    manifest = root / name / "table" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"calls/', f'"{name}/'))
    return Pipeline(pipeline.spec.model_copy(update={"name": name}), pipeline.folder)


@pytest.fixture
def pair(store: Store, make_pipeline: MakePipeline) -> tuple[Pipeline, Pipeline]:
    """Ten rows; of the second pipeline three answers are others."""
    made = make_pipeline(texts(N_ROWS), id_column="id", prompt="Is it {text}?")
    one = publish(made, store, {"c0": "no", "c1": "no"}, "one")
    return one, publish(made, store, {"c1": "no", "c2": "no", "c3": "maybe"}, "two")


def test_agreement(store: Store, pair: tuple[Pipeline, Pipeline]) -> None:
    """Rows are matched by their ids; those that differ come in order; tokens and cost are each one's."""
    found = compare_tables(store, *pair)
    assert (found.n_both, found.agreement.n, found.agreement.n_right) == (N_ROWS, N_ROWS, 7)
    assert found.disagreements.rows() == [("c0", "no", "yes"), ("c2", "yes", "no"), ("c3", "yes", "maybe")]
    assert (found.first.answer, found.first.n_ok, found.first.input_tokens) == ("response", N_ROWS, 10 * N_ROWS)
    assert found.first.cost_usd
    assert len(compare_tables(store, *pair, n_disagreements=1).disagreements) == 1


def test_what_cannot_be_compared(store: Store, pair: tuple[Pipeline, Pipeline], make_pipeline: MakePipeline) -> None:
    """A table that is not there, a column that is not, and tables of other rows."""
    one, _ = pair
    absent = Pipeline(one.spec.model_copy(update={"name": "absent"}), one.folder)
    with pytest.raises(ConfigError, match="absent"):
        compare_tables(store, one, absent)
    with pytest.raises(ConfigError, match="answer 'label' is no answer column of one; there are: response"):
        compare_tables(store, *pair, answer="label")
    others = make_pipeline(texts(3).with_columns(id="x" + pl.col("id")), id_column="id", prompt="Is it {text}?")
    with pytest.raises(ConfigError, match="one and three have no record id in common"):
        compare_tables(store, one, publish(others, store, {}, "three"))


def test_the_command(
    store: Store, pair: tuple[Pipeline, Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For people and as JSON."""
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", store.root)
    paths = []
    for pipeline in pair:
        attributes = pipeline.spec.model_dump(mode="json", exclude_unset=True, by_alias=True)
        folder = tmp_path / pipeline.spec.name
        folder.mkdir()
        (folder / "defs.yaml").write_text(
            yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": attributes})
        )
        paths.append(str(folder / "defs.yaml"))
    result = CliRunner().invoke(app, ["compare", *paths])
    assert result.exit_code == 0, result.output
    assert "10 rows in both tables, 10 answered by both, 7 alike" in result.stdout
    assert "agreement 0.700 (0.397 to 0.892, 95 % confidence)" in result.stdout
    told = json.loads(CliRunner().invoke(app, ["compare", *paths, "--json", "--rows", "1"]).stdout)
    assert (told["n_equal"], told["agreement"], len(told["disagreements"])) == (7, 0.7, 1)
