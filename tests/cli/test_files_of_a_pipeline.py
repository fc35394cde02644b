"""`format` and `parse` with the task of a pipeline: its records, and what becomes of answers, on plain files."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.test_cli import refused, told
from tests.labs.stages import HAIKU, failed, jsonl

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16
DEFS = f"""\
type: bedrock_assets.BatchInference
attributes:
  name: verdicts
  source: {{path: /not/here/*.parquet, id_column: id, expand: {{column: tone, values: [kind, strict]}}}}
  model: {HAIKU}
  task: {{text: {{prompt: "Judge, {{tone}}: {{text}}", images: [picture], max_tokens: 77, temperature: 0.5}}}}
  schema: {{score: integer}}
  schema_mode: tool
  output_prefix: ai_
  limits: {{min_records_per_job: 1}}
"""


@pytest.fixture
def project(tmp_path: Path) -> dict[str, Path]:
    """A defs.yaml, whose source is not there, and rows beside it."""
    paths = {name: tmp_path / name for name in ("defs.yaml", "in.parquet", "shards", "outputs", "out.parquet")}
    paths["defs.yaml"].write_text(DEFS)
    rows = pl.DataFrame({"id": ["a", "b"], "text": ["one", "two"], "picture": [PNG, PNG]})
    rows.write_parquet(paths["in.parquet"])
    return paths


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder's shards."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def options(project: dict[str, Path], *, of: str = "--pipeline") -> list[object]:
    """What both commands are told."""
    return ["--input", project["in.parquet"], of, project["defs.yaml"] if of == "--pipeline" else HAIKU]


def answer(record_id: str, text: str) -> dict[str, Any]:
    """A line that calls the tool with a JSON text as its input."""
    block = {"type": "tool_use", "name": "answer", "input": json.loads(text)}
    return {"recordId": record_id, "modelOutput": {"content": [block], "stop_reason": "tool_use"}}


def test_there_and_back(project: dict[str, Path]) -> None:
    """Prompt, parameters, images, schema, expansion, ids and prefix are the pipeline's, and its source is not read."""
    notes = told("format", *options(project), "--out", project["shards"])
    assert (notes["n_rows"], notes["pipeline"], notes["id_column"]) == (4, "verdicts", "id")
    records = lines_of(project["shards"])
    sent = records[1]["modelInput"]
    assert len({record["recordId"] for record in records}) == 4
    assert (sent["max_tokens"], sent["temperature"]) == (77, 0.5)
    assert sent["tool_choice"] == {"type": "tool", "name": "answer", "disable_parallel_tool_use": True}
    image, text = sent["messages"][0]["content"]
    assert (image["source"]["media_type"], text["text"]) == ("image/png", "Judge, strict: one")
    first, second, third, _ = (record["recordId"] for record in records)
    lines = [answer(first, '{"score": 3}'), answer(second, '{"score": "x"}'), failed(third)]
    project["outputs"].mkdir()
    (project["outputs"] / "00000-of-00001.jsonl.out").write_bytes(jsonl(lines))
    folders = ["--shards", project["shards"], "--outputs", project["outputs"], "--out", project["out.parquet"]]
    counts = told("parse", *options(project), *folders)
    assert (counts["n_ok"], counts["n_error"], counts["n_missing"]) == (1, 2, 1)
    table = pl.read_parquet(project["out.parquet"])
    assert table.select("id", "tone", "ai_score", "ai_error_code").rows() == [
        ("a", "kind", 3, None),
        ("a", "strict", None, "schema"),
        ("b", "kind", None, "400"),
        ("b", "strict", None, "missing"),
    ]
    assert "was formatted with --pipeline verdicts" in refused("parse", *options(project, of="--model"), *folders)


def test_the_shards_are_as_large_as_the_limits_say(project: dict[str, Path]) -> None:
    """`--max-records` stands in for the pipeline's limit."""
    notes = told("format", *options(project), "--out", project["shards"], "--max-records", 3)
    assert [shard["n_rows"] for shard in notes["shards"]] == [2, 2]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", HAIKU], "--model and --pipeline exclude each other"),
        (["--embed", "text"], "--embed and --pipeline exclude each other"),
        (["--max-tokens", 5], "--max-tokens and --pipeline exclude each other"),
        (["--id-column", "id"], "--id-column and --pipeline exclude each other"),
        (["--output-prefix", "x"], "--output-prefix and --pipeline exclude each other"),
    ],
)
def test_options_that_the_pipeline_has(project: dict[str, Path], more: list[object], message: str) -> None:
    """What the pipeline says cannot be said again."""
    assert message in refused("format", *options(project), *more, "--out", project["shards"])
    assert not project["shards"].exists()


def test_a_model_or_a_pipeline(project: dict[str, Path], tmp_path: Path) -> None:
    """One of the two is needed; a pipeline that does not fit the files, or is not there, is told."""
    base = ["--input", project["in.parquet"], "--out", project["shards"]]
    assert "name --pipeline, or --model" in refused("format", *base, "--embed", "text")
    pl.DataFrame({"id": ["a"], "note": ["x"]}).write_parquet(tmp_path / "other.parquet")
    other = ["--input", tmp_path / "other.parquet", "--pipeline", project["defs.yaml"]]
    assert "'text' named in" in refused("format", *other, "--out", project["shards"])
    missing = ["--input", project["in.parquet"], "--pipeline", tmp_path / "none.yaml"]
    assert "none.yaml" in refused("format", *missing, "--out", project["shards"])
