"""The command line: results on standard output, errors in one line, exit codes 0 and 2."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner, Result

from bedrock_assets.cli.app import app
from tests.labs.stages import HAIKU, TITAN, jsonl, ok, texts

GOOD = """
type: bedrock_assets.BatchInference
attributes:
  name: calls
  source: {path: "%s"}
  model: anthropic.claude-haiku-4-5-20251001-v1:0
  task:
    text: {prompt: "Say {text}"}
  limits: {min_records_per_job: 1}
"""


def run(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments: object) -> dict[str, Any]:
    """The JSON that a command prints, and nothing else, on standard output."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    """What a command says on standard error that ends with code 2."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten rows as CSV, an id with leading zeros among them."""
    path = tmp_path / "in.csv"
    texts(10).with_columns(zip=pl.lit("00123")).write_csv(path)
    return path


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    """A prompt file."""
    path = tmp_path / "prompt.txt"
    path.write_text("Say {text} as {{json}}\n")
    return path


def answer_all(shards: Path, outputs: Path) -> None:
    """Play Bedrock."""
    outputs.mkdir()
    for path in shards.glob("*.jsonl"):
        ids = [json.loads(line)["recordId"] for line in path.read_bytes().splitlines()]
        (outputs / f"{path.name}.out").write_bytes(jsonl(ok(i, f"to {i}") for i in reversed(ids)))


def test_there_and_back(source: Path, prompt: Path, tmp_path: Path) -> None:
    """`format`, a job, `parse`: every row with its answer, and counts as JSON."""
    shards, outputs, out = tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet"
    base = ["--input", source, "--model", HAIKU]
    notes = told("format", *base, "--prompt-file", prompt, "--out", shards, "--max-records", 4, "--id-column", "id")
    assert (notes["n_rows"], notes["n_records"], len(notes["shards"])) == (10, 10, 3)
    assert sorted(path.name for path in shards.glob("*.jsonl")) == [f"0000{i}-of-00003.jsonl" for i in range(3)]
    assert '"text":"Say call 0 as {json}"' in (shards / "00000-of-00003.jsonl").read_text("utf-8")
    answer_all(shards, outputs)
    found = told("parse", *base, "--shards", shards, "--outputs", outputs, "--out", out)
    assert {k: v for k, v in found.items() if k != "out"} == {
        **{"n_rows": 10, "n_ok": 10, "n_error": 0, "n_missing": 0},
        **{"n_unreadable": 0, "n_unknown": 0},
    }
    table = pl.read_parquet(out)
    assert_frame_equal(table.select("id", "text"), texts(10))
    assert table["zip"].unique().to_list() == ["00123"]
    assert table["response"].to_list() == [f"to c{i}" for i in range(10)]


def test_results_for_people(source: Path, prompt: Path, tmp_path: Path) -> None:
    """Without --json the counts are one sentence, and warnings go to standard error."""
    base = ["--input", source, "--model", HAIKU]
    result = run("format", *base, "--prompt-file", prompt, "--out", tmp_path / "shards")
    assert result.exit_code == 0
    assert result.stdout.startswith("10 rows: 10 records in 1 shard,")
    assert result.stderr.startswith("warning: 00000-of-00001 has 10 records; Bedrock fails a job with fewer than 100")
    answer_all(tmp_path / "shards", tmp_path / "outputs")
    folders = ["--shards", tmp_path / "shards", "--outputs", tmp_path / "outputs"]
    result = run("parse", *base, *folders, "--out", tmp_path / "out.parquet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("10 rows: 10 ok, 0 error, 0 missing; 0 lines could not be read")


def test_embeddings(source: Path, tmp_path: Path) -> None:
    """`--embed` names the column, `--dimensions` the length of the vectors."""
    told(
        "format",
        "--input",
        source,
        "--model",
        TITAN,
        "--embed",
        "text",
        "--dimensions",
        256,
        "--out",
        tmp_path / "shards",
    )
    line = json.loads((tmp_path / "shards" / "00000-of-00001.jsonl").read_bytes().splitlines()[9])
    assert line["modelInput"] == {"inputText": "call 9", "dimensions": 256, "normalize": True}
    (tmp_path / "outputs").mkdir()
    answer = {"recordId": line["recordId"], "modelOutput": {"embedding": [1.0] * 256, "inputTextTokenCount": 2}}
    (tmp_path / "outputs" / "x.jsonl.out").write_bytes(jsonl([answer]))
    folders = ["--shards", tmp_path / "shards", "--outputs", tmp_path / "outputs", "--out", tmp_path / "out.parquet"]
    assert told("parse", "--input", source, "--model", TITAN, *folders)["n_ok"] == 1
    assert pl.read_parquet(tmp_path / "out.parquet")["embedding"].to_list()[9] == [1.0] * 256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Say {text", "prompt.txt', line 1: a lone '{'"),
        (b"Say {topic}", "'topic' named in prompt"),
        (b"Say {text.upper}", "is not a column name"),
        (b"Say {text} \xe9", "cannot be read as UTF-8"),
    ],
)
def test_a_bad_prompt_file(source: Path, prompt: Path, tmp_path: Path, content: bytes, message: str) -> None:
    """A prompt that does not parse, fit or decode is told before anything is written."""
    prompt.write_bytes(content)
    arguments = ["--input", source, "--model", HAIKU, "--prompt-file", prompt, "--out", tmp_path / "shards"]
    assert message in refused("format", *arguments)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--input": "nothing.csv"}, "source path 'nothing.csv' matches no file"),
        ({"--model": "gpt-4"}, "model: 'gpt-4' is no model id"),
        ({"--id-column": "key"}, "id_column 'key' is not in the dataset; it has: id, text, zip"),
        ({"--id-column": "zip"}, "id_column 'zip' is not unique: '00123' (10 times)"),
        ({"--embed": "text"}, "name exactly one of --prompt-file and --embed"),
        ({"--prompt-file": "."}, "is a directory"),
        ({"--prompt-file": "nothing.txt"}, "does not exist"),
        ({"--max-records": "0"}, "--max-records"),
    ],
)
def test_wrong_options(source: Path, prompt: Path, tmp_path: Path, changes: dict[str, str], message: str) -> None:
    """Each wrong option is told by name, with code 2, and writes nothing."""
    options = {"--input": source, "--model": HAIKU, "--prompt-file": prompt, "--out": tmp_path / "shards"} | changes
    assert message in refused("format", *(word for option in options.items() for word in option))
    assert not (tmp_path / "shards").exists()


def test_a_foreign_folder(source: Path, prompt: Path, tmp_path: Path) -> None:
    """A folder that holds something else is refused and left as it is."""
    arguments = ["--input", source, "--model", HAIKU, "--prompt-file", prompt, "--out", tmp_path]
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "is not empty, and `format` did not write it" in refused("format", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_parse_of_a_folder_that_is_none(source: Path, tmp_path: Path) -> None:
    """`parse` names the folder that `format` did not write."""
    (tmp_path / "x").mkdir()
    folders = ["--shards", tmp_path / "x", "--outputs", tmp_path / "x", "--out", tmp_path / "out.parquet"]
    assert "has no readable format.json" in refused("parse", "--input", source, "--model", HAIKU, *folders)


@pytest.mark.parametrize(("pipeline", "n_shards"), [("conversation_summaries", 4), ("conversation_embeddings", 2)])
def test_plan_of_the_shipped_pipelines(pipeline: str, n_shards: int) -> None:
    """Both pipelines that ship are planned over all conversations, with a first record to look at."""
    found = told("plan", pipeline)
    assert (found["pipeline"], found["rows"], found["shards"]) == (pipeline, 3_626, n_shards)
    assert "Speaker A: " in found["first_record"]


def test_plan_of_a_file(source: Path, tmp_path: Path) -> None:
    """A defs.yaml is planned by its path, for people as well, and nothing is written beside it."""
    path = tmp_path / "defs.yaml"
    path.write_text(GOOD % source)
    before = sorted(tmp_path.iterdir())
    result = run("plan", path)
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()][3:5] == [["rows", "10"], ["records", "10"]]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  model:", "  modell: x\n  model:", "defs.yaml: attributes: unknown key 'modell'; did you mean model?"),
        ("prompt:", "promt:", "defs.yaml: attributes.task.text: unknown key 'promt'; did you mean prompt?"),
        ("min_records_per_job: 1", "max_jobs: many", "attributes.limits.max_jobs: Input should be a valid integer"),
        (
            "name: calls",
            "name: My Calls",
            "attributes.name: 'My Calls' cannot be; write lower-case",
        ),
        ("attributes:", "settings:", "is not YAML with `type` and `attributes`"),
        ("attributes:", "attributes: [", "is not YAML with"),
        ("{text}", "{words}", "column 'words' named in prompt"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "clod", "is no model id"),
        ("limits: {min_records_per_job: 1}", "limits: {min_records_per_job: 11}\n  on_small: error", "10 of 10 rows"),
    ],
)
def test_a_bad_defs_yaml(source: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    """Whatever is wrong in a defs.yaml is told with file and key, and ends with code 2."""
    path = tmp_path / "defs.yaml"
    path.write_text((GOOD % source).replace(old, new, 1))
    assert message in refused("plan", path)


def test_an_unknown_pipeline() -> None:
    """A name that is none is told with the pipelines that there are."""
    message = refused("plan", "no_such")
    assert "there is no pipeline 'no_such' in " in message
    assert "known: conversation_embeddings, conversation_summaries. Give" in message


def test_version() -> None:
    """The option prints the version of the installed package."""
    assert CliRunner().invoke(app, ["--version"]).stdout == f"bedrock-assets {version('bedrock-assets')}\n"
