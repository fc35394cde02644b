"""The two data stages on plain files: format, then parse."""

import json
from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bedrock_assets.dataset.plan import Block, plan_shards
from bedrock_assets.errors import (
    ColumnClash,
    ConfigError,
    DataError,
    EmptyDataset,
    InvalidRecordIds,
    StaleShard,
    StoreError,
)
from bedrock_assets.operations.format_files import NOTES, by_shard, format_files, plain_pipeline, read_notes
from bedrock_assets.operations.parse_files import parse_files
from bedrock_assets.pipeline.pipeline import Pipeline
from tests.labs.stages import HAIKU, TITAN, failed, jsonl, ok, texts
from tests.labs.values import every_dtype

TEXT = {"text": {"prompt": "Say {text}"}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten rows as Parquet."""
    path = tmp_path / "in.parquet"
    texts(10).write_parquet(path)
    return path


def pipeline_of(source: Path, *, id_column: str | None = "id", max_records: int = 4, task: Any = None) -> Pipeline:
    """A pipeline over a file, as the command line makes it."""
    return plain_pipeline(str(source), HAIKU, task or TEXT, id_column, max_records)


def formatted(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Records by shard file."""
    return {
        path.name: [json.loads(line) for line in path.read_bytes().splitlines()]
        for path in sorted(folder.glob("*.jsonl"))
    }


def answer_all(folder: Path, outputs: Path) -> None:
    """Play Bedrock: a job's folder for each shard file, answers in reverse."""
    for number, (name, records) in enumerate(formatted(folder).items()):
        (outputs / f"job{number}").mkdir(parents=True)
        lines = [ok(record["recordId"], f"to {record['recordId']}") for record in reversed(records)]
        (outputs / f"job{number}" / f"{name}.out").write_bytes(jsonl(lines))


def test_there_and_back(source: Path, tmp_path: Path) -> None:
    """What is formatted and answered is parsed to the input's rows, each with its answer."""
    notes = format_files(pipeline_of(source), tmp_path / "shards")
    assert (notes.n_rows, notes.n_records, len(notes.shards)) == (10, 10, 3)
    answer_all(tmp_path / "shards", tmp_path / "outputs")
    told = parse_files(pipeline_of(source), tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet")
    assert (told.n_rows, told.n_ok, told.n_error, told.n_missing, told.n_unreadable, told.n_unknown) == (
        10,
        10,
        0,
        0,
        0,
        0,
    )
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert_frame_equal(table.select("id", "text"), texts(10))
    assert table["response"].to_list() == [f"to c{i}" for i in range(10)]
    assert table["job_arn"].to_list() == ["job0"] * 3 + ["job1"] * 3 + ["job2"] * 4


def test_input_columns_are_unchanged(tmp_path: Path) -> None:
    """Every kind of value comes through unchanged, in several shards."""
    every_dtype().write_parquet(tmp_path / "in.parquet")
    pipeline = pipeline_of(tmp_path / "in.parquet", id_column=None, max_records=2)
    format_files(pipeline, tmp_path / "shards")
    answer_all(tmp_path / "shards", tmp_path / "outputs")
    parse_files(pipeline, tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet")
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert_frame_equal(table.select(every_dtype().columns), every_dtype())
    assert table["status"].to_list() == ["ok"] * 4


def test_every_row_has_its_fate(tmp_path: Path) -> None:
    """Rejected, failed and missing rows are told apart; broken lines and strangers are counted."""
    frame = texts(6).with_columns(text=pl.when(pl.col("id") != "c1").then("text"))
    frame.write_parquet(tmp_path / "in.parquet")
    pipeline = pipeline_of(tmp_path / "in.parquet", max_records=10)
    notes = format_files(pipeline, tmp_path / "shards")
    assert (notes.n_records, notes.n_rejected) == (5, 1)
    (tmp_path / "outputs").mkdir()
    lines = [ok("c0"), failed("c2"), "{", ok("stranger")]
    (tmp_path / "outputs" / "00000-of-00001.jsonl.out").write_bytes(jsonl(lines))
    told = parse_files(pipeline, tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet")
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["status"].to_list() == ["ok", "error", "error", "missing", "missing", "missing"]
    assert table["error_code"].to_list() == [None, "null_value", "400", "missing", "missing", "missing"]
    assert (told.n_ok, told.n_error, told.n_missing, told.n_unreadable, told.n_unknown) == (1, 2, 3, 1, 1)


def test_output_of_any_name_goes_to_all_shards(source: Path, tmp_path: Path) -> None:
    """Outputs that were put together in one file are found for every shard; a line that is broken counts once."""
    format_files(pipeline_of(source), tmp_path / "shards")
    (tmp_path / "outputs").mkdir()
    lines = [*(ok(f"c{i}") for i in range(10)), "{"]
    (tmp_path / "outputs" / "all.jsonl.out").write_bytes(jsonl(lines))
    told = parse_files(pipeline_of(source), tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet")
    assert (told.n_ok, told.n_unreadable, told.n_unknown) == (10, 1, 0)


def test_embeddings(source: Path, tmp_path: Path) -> None:
    """Vectors go through the same two steps."""
    task = {"embedding": {"column": "text", "dimensions": 256}}
    pipeline = plain_pipeline(str(source), TITAN, task, "id", 50)
    format_files(pipeline, tmp_path / "shards")
    assert formatted(tmp_path / "shards")["00000-of-00001.jsonl"][0]["modelInput"]["inputText"] == "call 0"
    (tmp_path / "outputs").mkdir()
    lines = [{"recordId": "c3", "modelOutput": {"embedding": [0.5, 1] * 128, "inputTextTokenCount": 2}}]
    (tmp_path / "outputs" / "00000-of-00001.jsonl.out").write_bytes(jsonl(lines))
    parse_files(pipeline, tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet")["embedding"].to_list()[3] == [0.5, 1.0] * 128


def test_the_same_input_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    """Two runs write identical files, notes included, also over an earlier run with more shards."""
    format_files(pipeline_of(source, max_records=2), tmp_path / "one")
    for name in ("one", "two"):
        format_files(pipeline_of(source), tmp_path / name)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert len(one) == 4


def test_a_foreign_folder_is_not_touched(source: Path, tmp_path: Path) -> None:
    """A folder with files that `format` did not write is refused, and keeps them."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.jsonl").write_text("x")
    with pytest.raises(StoreError, match="is not empty, and `format` did not write it"):
        format_files(pipeline_of(source), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.jsonl"]


@pytest.mark.parametrize("region", ["in.parquet", "in.parquet/below"])
def test_a_folder_that_cannot_be_written(source: Path, tmp_path: Path, region: str) -> None:
    """Where a file is in the way, both steps say that they cannot write."""
    with pytest.raises(StoreError, match="cannot be written"):
        format_files(pipeline_of(source), tmp_path / region)


def test_a_result_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    """A result whose folder is a file is refused."""
    format_files(pipeline_of(source), tmp_path / "shards")
    answer_all(tmp_path / "shards", tmp_path / "outputs")
    with pytest.raises(StoreError, match="cannot be written"):
        parse_files(pipeline_of(source), tmp_path / "shards", tmp_path / "outputs", source / "out.parquet")


def test_a_parse_that_fails_keeps_the_last_result(source: Path, tmp_path: Path) -> None:
    """After an error the former result is whole, and no half one stands beside it."""
    format_files(pipeline_of(source), tmp_path / "shards")
    answer_all(tmp_path / "shards", tmp_path / "outputs")
    (tmp_path / "result").mkdir()
    out = tmp_path / "result" / "out.parquet"
    parse_files(pipeline_of(source), tmp_path / "shards", tmp_path / "outputs", out)
    before = out.read_bytes()
    texts(10).with_columns(id=pl.when(pl.col("id") != "c9").then("id")).write_parquet(source)
    with pytest.raises(InvalidRecordIds):
        parse_files(pipeline_of(source), tmp_path / "shards", tmp_path / "outputs", out)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize("change", [lambda rows: rows.head(9), lambda rows: pl.concat([rows, texts(12).tail(2)])])
def test_another_input_is_refused(source: Path, tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """An input that has lost or gained rows since `format` is refused: its answers could not be placed."""
    format_files(pipeline_of(source), tmp_path / "shards")
    answer_all(tmp_path / "shards", tmp_path / "outputs")
    change(texts(10)).write_parquet(source)
    with pytest.raises(DataError, match=r"has \d+ rows, but `format` had 10"):
        parse_files(pipeline_of(source), tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet")


def test_repeated_ids_are_refused(source: Path, tmp_path: Path) -> None:
    """Two rows with one id would get one answer: `format` refuses them, before it writes."""
    pl.concat([texts(10), texts(1)]).write_parquet(source)
    with pytest.raises(InvalidRecordIds, match=r"not unique: 'c0' \(2 times\)"):
        format_files(pipeline_of(source), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_no_rows(source: Path, tmp_path: Path) -> None:
    """An input without rows is an error."""
    texts(0).write_parquet(source)
    with pytest.raises(EmptyDataset, match="nothing to format"):
        format_files(pipeline_of(source), tmp_path / "shards")


def test_small_shards_are_warned_of(source: Path, tmp_path: Path) -> None:
    """Fewer records than Bedrock's minimum are formatted all the same, with a warning."""
    notes = format_files(pipeline_of(source, max_records=50_000), tmp_path / "shards")
    assert notes.warnings == ("00000-of-00001 has 10 records; Bedrock fails a job with fewer than 100",)


def test_folders_with_nothing_to_read(source: Path, tmp_path: Path) -> None:
    """A folder that `format` did not write, broken notes, and outputs without a file are told."""
    (tmp_path / "shards").mkdir()
    with pytest.raises(ConfigError, match=f"has no readable {NOTES}"):
        read_notes(tmp_path / "shards")
    (tmp_path / "shards" / NOTES).write_text("{")
    with pytest.raises(ConfigError, match=f"has no readable {NOTES}"):
        read_notes(tmp_path / "shards")
    format_files(pipeline_of(source), tmp_path / "shards")
    (tmp_path / "outputs").mkdir()
    with pytest.raises(ConfigError, match=r"no \*\.jsonl\.out under"):
        parse_files(pipeline_of(source), tmp_path / "shards", tmp_path / "outputs", tmp_path / "out.parquet")


def test_columns_in_the_way_of_ours(tmp_path: Path) -> None:
    """A table with a column `status` is formatted and parsed under a prefix, which `parse` finds in the notes."""
    path = tmp_path / "in.parquet"
    texts(3).with_columns(status=pl.lit("mine"), record_id=pl.lit(1)).write_parquet(path)
    with pytest.raises(ColumnClash, match="output-prefix"):
        format_files(pipeline_of(path), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
    format_files(plain_pipeline(str(path), HAIKU, TEXT, "id", 4, "ba_"), tmp_path / "shards")
    answer_all(tmp_path / "shards", tmp_path / "outputs")
    prefix = read_notes(tmp_path / "shards").output_prefix
    parse_files(
        plain_pipeline(str(path), HAIKU, TEXT, "id", output_prefix=prefix),
        tmp_path / "shards",
        tmp_path / "outputs",
        tmp_path / "out.parquet",
    )
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["status"].to_list() == ["mine"] * 3
    assert table["ba_status"].to_list() == ["ok"] * 3


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_that_is_appended_to(tmp_path: Path, suffix: str) -> None:
    """Rows that come after the rows were counted are told, where `format` once went on for ever."""
    path, line = tmp_path / f"in.{suffix}", {"csv": "c9,x\n", "jsonl": '{"id":"c9","text":"x"}\n'}[suffix]
    path.write_text(("id,text\n" if suffix == "csv" else "") + line * 3)
    pipeline = pipeline_of(path, id_column=None)
    shards = plan_shards([Block(3, 3, 0)], pipeline.spec.limits, on_small="pad")
    with path.open("a") as file:
        file.write(line)
    with pytest.raises(StaleShard, match="has more rows than when they were counted: it was written to"):
        _ = [pl.concat(rows) for _, rows in by_shard(pipeline, shards)]


IDS = {
    "bytes": pl.Series([b"\xff\x00", b"b"]),
    "lists": pl.Series([[1], [2]]),
    "objects": pl.Series([{"a": 1}, {"a": 2}]),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_that_are_none(tmp_path: Path, kind: str) -> None:
    """Ids that are bytes (as UUIDs are in Parquet), lists or objects are refused, and told how to be written."""
    path = tmp_path / "in.parquet"
    pl.DataFrame({"id": IDS[kind], "text": ["a", "b"]}).write_parquet(path)
    with pytest.raises(InvalidRecordIds, match=r"holds .*, but an id is a text or a number; write ids as text \(UUIDs"):
        format_files(pipeline_of(path), tmp_path / "shards")


def test_an_id_that_is_no_number(tmp_path: Path) -> None:
    """NaN among ids that are numbers is as good as null."""
    path = tmp_path / "in.parquet"
    pl.DataFrame({"id": [0.5, float("nan")], "text": ["a", "b"]}).write_parquet(path)
    with pytest.raises(InvalidRecordIds, match=r"has nulls, the first in row 1"):
        format_files(pipeline_of(path), tmp_path / "shards")


def test_times_keep_their_fractions(tmp_path: Path) -> None:
    """Times of day that differ in a fraction of a second differ in the prompt, in given ids and in derived ones."""
    path = tmp_path / "in.parquet"
    clocks = [time(1, 2, 3), time(1, 2, 3, 4), time(1, 2, 3, 500_000)]
    pl.DataFrame({"id": clocks, "text": ["a"] * 3}).write_parquet(path)
    task = {"text": {"prompt": "{id}"}}
    format_files(pipeline_of(path, task=task), tmp_path / "given")
    said = [record["modelInput"]["messages"][0]["content"][0]["text"] for record in records_of(tmp_path / "given")]
    assert said == ["01:02:03", "01:02:03.000004", "01:02:03.500"]
    format_files(pipeline_of(path, id_column=None, task=task), tmp_path / "derived")
    assert len({record["recordId"][9:] for record in records_of(tmp_path / "derived")}) == 3


def records_of(folder: Path) -> list[dict[str, Any]]:
    """All records that were formatted."""
    return [record for records in formatted(folder).values() for record in records]
