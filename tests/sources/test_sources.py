"""Sources: rows in a fixed order, values unchanged, and errors that name the source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources import Source, open_source
from bedrock_assets.sources.base import BATCH_ROWS

FRAME = pl.DataFrame({"zip": ["00123", "7", None], "n": [1, 2, None]})


def source(**spec: Any) -> Source:
    """The source of a spec."""
    return open_source(SourceSpec.model_validate(spec))


def read(opened: Source) -> pl.DataFrame:
    """All rows."""
    return pl.concat(opened.batches())


def test_parquet(tmp_path: Path) -> None:
    """A Parquet file is read as it is, with its columns and rows known beforehand."""
    FRAME.write_parquet(tmp_path / "a.parquet")
    opened = source(path=str(tmp_path / "a.parquet"))
    assert (opened.columns(), opened.n_rows()) == (None, 3), "nothing is read before the rows are asked for"
    assert_frame_equal(read(opened), FRAME)


def test_many_rows_come_in_order_and_in_batches(tmp_path: Path) -> None:
    """Rows come in the file's order, in batches of bounded size and one schema."""
    frame = pl.DataFrame({"n": range(3 * BATCH_ROWS + 1)})
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=10_000)
    batches = list(source(path=str(tmp_path / "a.parquet")).batches())
    assert_frame_equal(pl.concat(batches), frame)
    assert max(map(len, batches)) <= BATCH_ROWS


def test_a_glob_reads_files_by_name(tmp_path: Path) -> None:
    """A pattern reads its files in the order of their names, not of their making."""
    for name in ("b", "c", "a"):
        pl.DataFrame({"x": [name]}).write_parquet(tmp_path / f"{name}.parquet")
    assert read(source(path=f"{tmp_path}/[ab].parquet"))["x"].to_list() == ["a", "b"]


def test_csv_is_text(tmp_path: Path) -> None:
    """A CSV's values are text unless a dtype is named: leading zeros survive, far down the file as well."""
    rows = ["zip,age"] + [f"{i},{i}" for i in range(2_000)] + ["00123,7"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    path = str(tmp_path / "a.csv")
    assert read(source(path=path)).row(-1) == ("00123", "7")
    assert read(source(path=path, dtypes={"age": "Int64"})).row(-1) == ("00123", 7)


@pytest.mark.parametrize(
    ("dtypes", "message"),
    [
        ({"age": "int"}, "dtypes: age: 'int' is not a polars dtype; for example Int64"),
        ({"age": "DataFrame"}, "'DataFrame' is not a polars dtype"),
        ({"age": "Int64"}, r"cannot be read: conversion .*failed .*\"old\""),
        ({"years": "Int64"}, "cannot be read: .*years"),
    ],
)
def test_dtypes_that_do_not_fit(tmp_path: Path, dtypes: dict[str, str], message: str) -> None:
    """A dtype that does not exist, a value that does not fit, a column that is not there: each is named."""
    (tmp_path / "a.csv").write_text("age\nold\n")
    opened = source(path=str(tmp_path / "a.csv"), dtypes=dtypes)
    with pytest.raises(ConfigError, match=message):
        read(opened)


def test_jsonl(tmp_path: Path) -> None:
    """JSON Lines of either suffix keep their types; a key that comes late is a column."""
    for suffix in ("jsonl", "ndjson"):
        (tmp_path / f"a.{suffix}").write_text('{"a": "01"}\n{"a": "2", "b": {"c": [1]}}\n')
        rows = read(source(path=str(tmp_path / f"a.{suffix}"))).to_dicts()
        assert rows == [{"a": "01", "b": None}, {"a": "2", "b": {"c": [1]}}]


def test_a_path_without_files(tmp_path: Path) -> None:
    """A path or pattern that matches nothing is an error when rows are read."""
    opened = source(path=f"{tmp_path}/*.parquet")
    with pytest.raises(ConfigError, match=r"\*\.parquet' matches no file; a relative path starts at"):
        read(opened)


@pytest.mark.parametrize(("name", "told"), [("a.txt", "ends in .txt"), ("a", "has no suffix")])
def test_an_unknown_suffix(tmp_path: Path, name: str, told: str) -> None:
    """A file of another format is refused with the known ones."""
    (tmp_path / name).write_text("x")
    with pytest.raises(ConfigError, match=rf"{told}; known: \.parquet, \.csv, \.jsonl, \.ndjson"):
        read(source(path=str(tmp_path / name)))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
@pytest.mark.parametrize("ask", [lambda opened: opened.n_rows(), read])
def test_a_broken_file(tmp_path: Path, name: str, ask: Callable[[Source], object]) -> None:
    """A file that is not what its name says is an error of the source, whatever is asked of it first."""
    (tmp_path / name).write_bytes(b"" if name == "a.csv" else b'{"a"\n')
    with pytest.raises(ConfigError, match=rf"source '.*{name}' cannot be read"):
        ask(source(path=str(tmp_path / name)))


def test_hugging_face_folder(tmp_path: Path) -> None:
    """A local dataset folder is streamed like one of the hub, in order."""
    FRAME.write_parquet(tmp_path / "train.parquet")
    opened = source(huggingface={"id": str(tmp_path)})
    assert opened.columns() is None, "a hub dataset's columns are not known without the network"
    assert_frame_equal(read(opened), FRAME)
    assert opened.n_rows() == 3


def test_hugging_face_jsonl(tmp_path: Path) -> None:
    """The named split of a folder is read, and one that is not there is named with those that are."""
    (tmp_path / "test.jsonl").write_text('{"q": "a"}\n{"q": "b"}\n')
    assert read(source(huggingface={"id": str(tmp_path), "split": "test"}))["q"].to_list() == ["a", "b"]
    with pytest.raises(ConfigError, match=r"\[train\] cannot be read: Bad split: train\. Available splits: \['test'\]"):
        read(source(huggingface={"id": str(tmp_path)}))


def test_a_missing_dataset_folder(tmp_path: Path) -> None:
    """A dataset folder that is not there is an error of the source."""
    with pytest.raises(ConfigError, match=r"nowhere\[train\] cannot be read"):
        read(source(huggingface={"id": str(tmp_path / "nowhere")}))


def test_chitchat() -> None:
    """The demo's conversations: 3,626 of six turns and more, each with its own id and all columns filled."""
    opened = source(chitchat={})
    frame = read(opened)
    assert len(frame) == opened.n_rows() == 3_626
    assert frame.columns == opened.columns() == ["id", "opening_prompt", "transcript", "n_turns", "started_at"]
    assert frame["id"].n_unique() == 3_626
    assert frame["n_turns"].min() == 6
    assert frame.select("id", "transcript", "started_at").null_count().row(0) == (0, 0, 0)
    # One turn a line at least, each said by a named speaker; a text may have line breaks of its own.
    n_lines = frame["transcript"].str.count_matches(r"(?m)^Speaker [A-Z]: ")
    assert (n_lines >= frame["n_turns"]).all()


def test_chitchat_can_be_longer() -> None:
    """`min_turns` leaves out the shorter conversations."""
    longer = read(source(chitchat={"min_turns": 60}))
    assert 0 < len(longer) < 3_626
    assert longer["n_turns"].min() == 60
