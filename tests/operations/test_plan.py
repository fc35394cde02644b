"""A pipeline looked at before anything is written."""

import json
from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.components.load import load_pipeline
from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.errors import ConfigError, EmptyDataset, TooFewRecords
from bedrock_assets.operations.plan import preview
from bedrock_assets.storage.store import Store
from tests.labs.stages import HAIKU, MakePipeline, texts

LIMITS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 2}


def test_a_preview_tells_what_ingest_does(store: Store, make_pipeline: MakePipeline) -> None:
    """Rows, records, bytes and shards are those that `raw_dataset` will have."""
    frame = texts(10).with_columns(text=pl.when(pl.col("id") != "c0").then("text"))
    pipeline = make_pipeline(frame, limits=LIMITS)
    found, raw = preview(pipeline), ingest(pipeline, store)
    assert (found["rows"], found["records"], found["bytes"]) == (raw.n_rows, raw.n_sendable, raw.prompt_bytes)
    assert (found["shards"], found["waves"], found["rows_per_shard"]) == (len(raw.shards), 2, "2 to 3")
    assert (found["pipeline"], found["model"]) == ("calls", HAIKU)


def test_the_first_record_is_one_that_is_sent(make_pipeline: MakePipeline) -> None:
    """The record shown is the first row's that makes one."""
    frame = pl.DataFrame({"text": [None, "second"]})
    record = json.loads(preview(make_pipeline(frame))["first_record"])
    assert record["modelInput"]["messages"][0]["content"][0]["text"] == "Say second"


def test_a_preview_fails_as_ingest_would(make_pipeline: MakePipeline) -> None:
    """No rows and too few records are told before anything is written."""
    with pytest.raises(EmptyDataset):
        preview(make_pipeline(texts(0)))
    with pytest.raises(TooFewRecords):
        preview(make_pipeline(texts(5), limits={}, on_small="error"))


@pytest.mark.parametrize("text", ["", "- a", "attributes:", "attributes: 5", "a: [", "é"])
def test_a_file_that_is_no_pipeline(tmp_path: Path, text: str) -> None:
    """Whatever stands in a YAML file, an error names the file."""
    path = tmp_path / "defs.yaml"
    path.write_text(text, "latin-1")
    with pytest.raises(ConfigError, match=r"defs\.yaml"):
        load_pipeline(str(path))


def test_prompts_beside_the_yaml(tmp_path: Path) -> None:
    """A pipeline loaded by path finds the prompt files of its own folder."""
    texts(3).write_csv(tmp_path / "in.csv")
    (tmp_path / "mine.txt").write_text("Mine: {text}")
    source = json.dumps(str(tmp_path / "in.csv"))
    task = "task: {text: {prompt_id: mine}}"
    (tmp_path / "defs.yaml").write_text(f"attributes: {{name: a, source: {{path: {source}}}, model: {HAIKU}, {task}}}")
    pipeline = load_pipeline(str(tmp_path / "defs.yaml"))
    assert pipeline.records.prompt is not None
    assert pipeline.records.prompt.text == "Mine: {text}"


def test_an_inbox_is_no_pipeline() -> None:
    """There are no rows to look at in an inbox: it is told as such, and not among the pipelines."""
    with pytest.raises(ConfigError, match=r"inbox/defs\.yaml does not have `type: bedrock_assets\.BatchInference`"):
        load_pipeline("inbox")
    with pytest.raises(ConfigError, match=r"known: conversation_embeddings, conversation_summaries\. Give"):
        load_pipeline("nothing")
