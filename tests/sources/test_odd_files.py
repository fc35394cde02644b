"""Files as people have them: each is read rightly, or refused with its name, the cause and the cure."""

import gzip
import os
import time
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources import csv_files, json_lines, open_source


def read(path: Path | str, **spec: Any) -> pl.DataFrame:
    """All rows of a file, pattern or folder."""
    return pl.concat(open_source(SourceSpec.model_validate({"path": str(path), **spec})).batches())


def written(folder: Path, name: str, content: bytes | str) -> Path:
    """A file with this content."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


TYPED: dict[str, tuple[str, object]] = {
    "Date": ("2026-11-01", date(2026, 11, 1)),
    "Datetime": ("2026-11-01 12:30:00.25", datetime(2026, 11, 1, 12, 30, 0, 250_000)),
    "Time": ("12:30:00.25", time_of_day(12, 30, 0, 250_000)),
    "Boolean": ("True", True),
    "Decimal": ("1.10", Decimal("1.1")),
    "Decimal(12, 2)": ("1.10", Decimal("1.10")),
    "Int64": ("7", 7),
    "Float64": ("0.5", 0.5),
}


@pytest.mark.parametrize("dtype", TYPED)
def test_csv_columns_have_the_named_dtype(tmp_path: Path, dtype: str) -> None:
    """Each dtype that a person would name is read from the text that people write; an empty value is null."""
    text, value = TYPED[dtype]
    path = written(tmp_path, "a.csv", f"day,text\n{text},a\n,b\n")
    assert read(path, dtypes={"day": dtype})["day"].to_list() == [value, None]


@pytest.mark.parametrize("dtype", [dtype for dtype in TYPED if dtype != "Decimal(12, 2)"])
def test_csv_values_that_are_not_of_the_dtype(tmp_path: Path, dtype: str) -> None:
    """A value that is not of the named dtype is quoted with its column."""
    path = written(tmp_path, "a.csv", "day,text\nsoon,a\n")
    with pytest.raises(ConfigError, match=r"a\.csv' cannot be read: conversion .*\"soon\""):
        read(path, dtypes={"day": dtype})


def test_csv_datetimes(tmp_path: Path) -> None:
    """A datetime has a T or a space, a fraction or none, and a date alone is midnight."""
    rows = ["2026-11-01T12:30:00", "2026-11-01 12:30:00.5", "2026-11-01", ""]
    path = written(tmp_path, "a.csv", "at,x\n" + "".join(f"{row},a\n" for row in rows))
    noon = datetime(2026, 11, 1, 12, 30)
    expected = [noon, noon.replace(microsecond=500_000), datetime(2026, 11, 1), None]
    assert read(path, dtypes={"at": "Datetime"})["at"].to_list() == expected


@pytest.mark.parametrize("words", [("true", "false"), ("T", "F"), ("yes", "No"), ("1", "0")])
def test_csv_booleans(tmp_path: Path, words: tuple[str, str]) -> None:
    """Booleans are read in the ways that programs write them."""
    path = written(tmp_path, "a.csv", f"flag,x\n{words[0]},a\n{words[1]},b\n")
    assert read(path, dtypes={"flag": "Boolean"})["flag"].to_list() == [True, False]


@pytest.mark.parametrize("dtype", ["Duration", "List", "Object", "Struct", "Decimal(12)", "DataFrame"])
def test_csv_dtypes_that_no_text_has(tmp_path: Path, dtype: str) -> None:
    """A dtype that text cannot have is refused with those that it can."""
    path = written(tmp_path, "a.csv", "day\n1\n")
    with pytest.raises(ConfigError, match=r"is not a polars dtype; for example Int64, Float64, Boolean, Date"):
        read(path, dtypes={"day": dtype})


REFUSED = {
    "a latin-1 header": ("a.csv", "id,näme\n1,b\n".encode("latin-1"), r"line 1: byte 0xe4 is not UTF-8; save .*iconv"),
    "a latin-1 row": ("a.csv", "id,name\n1,b\n2,é\n".encode("latin-1"), r"line 3: byte 0xe9 is not UTF-8; save"),
    "UTF-16": ("a.csv", "id,name\n1,b\n".encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
    "CR line ends": ("a.csv", "id,name\r1,b\r", "its lines end in CR alone; save it with line ends of Unix"),
    "a quote that swallows rows": ("a.csv", 'id,name\n1,a\n2,"b\n3,c\n', "begins in line 3: unexpected end of data"),
    "a quote in the header": (
        "a.csv",
        'id,na"me\n1,a\n2,"b,c"\n',
        "by its quotes it has 2 rows, but [01] are read|malformed",
    ),
    "a quote that the header lacks": ("a.csv", 'id,"name\n1,a\n2,"b"\n', "record that begins in line 1|malformed"),
    "a quote after a quoted value": ("a.csv", 'id,name\n1,"a\nb"c\n2,d\n', r"expected after '\"'|malformed|parse"),
    "too many values": ("a.csv", "id,name\n1,a\n2,b,c\n", "line 3: 3 values, but 2 columns; quote values with commas"),
    "an empty CSV": ("a.csv", "", "empty CSV"),
    "a broken line of JSON": (
        "a.jsonl",
        '{"a":1}\n{"a":2}\n{"a"\n{"a":4}\n',
        "line 3: not JSON: .*; correct or remove",
    ),
    "no object": ("a.jsonl", '{"a":1}\n7\n', r"line 2: not a JSON object; write \{\.\.\.\} on each line"),
    "a JSON array": ("a.jsonl", '[{"a":1},{"a":2}]', "is a JSON array; write one object a line"),
    "latin-1 JSON": ("a.jsonl", '{"a":1}\n{"b":"é"}\n'.encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
    "CR JSON": ("a.jsonl", '{"a":1}\r{"a":2}\r', "its lines end in CR alone"),
    "packed JSON": ("a.jsonl", gzip.compress(b'{"a":1}\n'), "is compressed; unpack it"),
    "a list after a number": ("a.jsonl", '{"a":1}\n{"a":[1]}\n', "line 2: .*; give its values the types"),
    "a number that would be rounded": (
        "a.jsonl",
        '{"n":9007199254740993}\n{"n":0.5}\n',
        "'n' .*9007199254740993.*round",
    ),
    "one within a list": ("a.jsonl", '{"n":{"x":[0.5,9007199254740993]}}\n', "'n' has fractions and the whole number"),
    "JSON nested too deeply": (
        "a.jsonl",
        '{"a":' + "[" * 3_000 + "]" * 3_000 + "}\n",
        "line 1: not JSON: recursion limit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_refused(tmp_path: Path, case: str) -> None:
    """The message names file and line, what is wrong, and what to do."""
    name, content, message = REFUSED[case]
    path = written(tmp_path, name, content)
    with pytest.raises(ConfigError, match=message) as error:
        read(path)
    assert name in str(error.value)


JSON_READ: dict[str, tuple[str, list[Any]]] = {
    "an object without keys": ('{"a":{}}\n{"a":{}}\n{"a":null}\n', ["{}", "{}", None]),
    "one in one row only": ('{"a":{}}\n{"a":{"b":1}}\n', [{"b": None}, {"b": 1}]),
    "objects without keys in a list": ('{"a":[{},null]}\n', [["{}", None]]),
    "half an emoji": (
        r'{"a":"cut \ud83d"}' + "\n" + r'{"a":"\ude00 \ud83d\ude00 \\ud83d"}',
        ["cut \ufffd", "\ufffd 😀 \\ud83d"],
    ),
    "whole numbers above 2^53": ('{"a":9007199254740993}\n{"a":1}\n', [2**53 + 1, 1]),
    "whole numbers above 2^63": ('{"a":18446744073709551617}\n{"a":1}\n', [2**64 + 1, 1]),
    "large but exact beside fractions": ('{"a":1e20}\n{"a":9007199254740992}\n', [1e20, 2.0**53]),
    "texts and numbers": ('{"a":"x"}\n{"a":1}\n{"a":{"b":2}}\n', ["x", "1", '{"b": 2}']),
    "a byte order mark": ('\ufeff{"a":1}\n', [1]),
    "blank lines": ('{"a":1}\n\n  \n{"a":2}', [1, 2]),
    "Windows line ends": ('{"a":1}\r\n{"a":2}\r\n', [1, 2]),
}


@pytest.mark.parametrize("case", JSON_READ)
def test_json_lines_that_are_read(tmp_path: Path, case: str) -> None:
    """Values are exact, or have the text of their JSON."""
    content, values = JSON_READ[case]
    path = written(tmp_path, "a.jsonl", content)
    assert read(path)["a"].to_list() == values
    assert open_source(SourceSpec(path=str(path))).n_rows() == len(values)


def test_types_that_change_far_down_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column's type is that of all lines, in whichever block of the file each is."""
    monkeypatch.setattr(json_lines, "READ_BYTES", 32)
    lines = ['{"a":1,"b":{"x":1}}', '{"a":0.5,"c":null}', '{"b":{"y":["s"]},"a":2}', '{"c":true,"b":null}'] * 3
    rows = read(written(tmp_path, "a.jsonl", "\n".join(lines)))
    assert rows.schema == {
        "a": pl.Float64,
        "b": pl.Struct({"x": pl.Int64, "y": pl.List(pl.String)}),
        "c": pl.Boolean,
    }
    assert rows["a"].to_list() == [1, 0.5, 2, None] * 3
    broken = written(tmp_path, "b.jsonl", "\n".join([*lines, '{"a"', '{"a":1}']))
    with pytest.raises(ConfigError, match="line 13: not JSON"):
        read(broken)


@pytest.mark.parametrize("end", ["", '{"a":'])
def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Rows that are appended meanwhile are left out, and so is a line of which only the beginning was there."""
    monkeypatch.setattr(json_lines, "READ_BYTES", 8)
    path = written(tmp_path, "a.jsonl", '{"a":1}\n{"a":2}\n{"a":3}\n' + end)
    rows = json_lines.read_rows(str(path), pl.Schema({"a": pl.Int64}))
    first = next(rows)
    with path.open("a") as file:
        file.write('{"a":4}\n' if not end else '4}\n{"a":5}\n')
    assert pl.concat([first, *rows])["a"].to_list() == [1, 2, 3]


def test_partition_columns(tmp_path: Path) -> None:
    """Folders `key=value` below the pattern or folder are columns: whole numbers, or text, null where Hive says so."""
    for folder, text in (("year=2026/lang=de", "a"), ("year=2027/lang=__HIVE_DEFAULT_PARTITION__", "b")):
        for suffix in ("parquet", "csv", "jsonl"):
            target = tmp_path / suffix / "env=prod" / folder / f"part.{suffix}"
            target.parent.mkdir(parents=True)
            frame = pl.DataFrame({"text": [text]})
            if suffix == "parquet":
                frame.write_parquet(target)
            elif suffix == "csv":
                frame.write_csv(target)
            else:
                frame.write_ndjson(target)
    expected = {"text": ["a", "b"], "year": [2026, 2027], "lang": ["de", None]}
    for suffix in ("parquet", "csv", "jsonl"):
        below = tmp_path / suffix / "env=prod"
        assert read(below).to_dict(as_series=False) == expected
        assert read(f"{below}/year=*/*/*.{suffix}").to_dict(as_series=False) == expected
        assert read(f"{below}/**/*.{suffix}").to_dict(as_series=False) == expected
        one = below / "year=2026" / "lang=de" / f"part.{suffix}"
        assert read(one).columns == ["text"], "a file that is named has the columns that it has"


def test_a_column_of_the_file_wins(tmp_path: Path) -> None:
    """Where a file has the partition's column itself, its own values count."""
    (tmp_path / "year=2026").mkdir()
    pl.DataFrame({"year": ["MMXXVI"]}).write_parquet(tmp_path / "year=2026" / "a.parquet")
    assert read(tmp_path)["year"].to_list() == ["MMXXVI"]


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    """A file whose own name has brackets is that file."""
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a[1].parquet")
    assert len(read(tmp_path / "a[1].parquet")) == 1


def test_folders_that_are_refused(tmp_path: Path) -> None:
    """A folder of nothing, or of several formats, says so; hidden files do not count."""
    written(tmp_path, "_delta_log/0.jsonl", "{}\n")
    written(tmp_path, ".hidden.csv", "a\n")
    with pytest.raises(ConfigError, match="is a folder that has no data files"):
        read(tmp_path)
    written(tmp_path, "a.csv", "x\n1\n")
    written(tmp_path, "a.jsonl", '{"x":1}\n')
    with pytest.raises(ConfigError, match=r"has files of several formats: \.csv, \.jsonl; name a pattern"):
        read(tmp_path)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO, a device and the whole file system are refused at once, and not read for ever."""
    os.mkfifo(tmp_path / "a.csv")
    (tmp_path / "b.csv").symlink_to("/dev/zero")
    started = time.monotonic()
    for path, message in (
        (tmp_path / "a.csv", "is not a file but a FIFO"),
        (tmp_path / "b.csv", "is not a file but a device"),
        (f"{tmp_path}/*.csv", "is not a file but a FIFO"),
        ("/dev/zero", "has no suffix"),
        ("/**", "has no suffix"),
        ("", "has no suffix"),
        ("/**/*.csv", "searches the whole file system"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(path)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_compressed_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str) -> None:
    """A compressed file is read as long as it unpacks to little, and refused before it takes the memory."""
    content = b"text\n" + b"aaaaaaaaa\n" * 100_000
    with pa.CompressedOutputStream(pa.OSFile(str(tmp_path / "a.csv"), "wb"), packing) as file:
        file.write(content)
    assert len(read(tmp_path / "a.csv")) == 100_000
    monkeypatch.setattr(csv_files, "MAX_UNPACKED_BYTES", 500_000)
    with pytest.raises(ConfigError, match=rf"\({packing}\) and unpacks to more than 500,000 bytes; unpack it"):
        read(tmp_path / "a.csv")


def test_values_with_line_breaks(tmp_path: Path) -> None:
    """Values whose line breaks and quotes are quoted rightly are no stray quotes."""
    path = written(tmp_path, "a.csv", 'id,text\n1,"a\nb ""c"""\n2,"d, e"\n')
    assert read(path)["text"].to_list() == ['a\nb "c"', "d, e"]


def test_a_time_zone_that_polars_does_not_know(tmp_path: Path) -> None:
    """An offset as a time zone makes polars panic; it is an error of the source, like any other."""
    pq.write_table(pa.table({"at": pa.array([1], pa.timestamp("us", "+05:30"))}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet' cannot be read: unable to parse time zone: '\+05:30'"):
        read(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="unable to parse time zone"):
        open_source(SourceSpec(path=str(tmp_path / "a.parquet"))).n_rows()


EXTENSIONS = {
    "json": (pa.json_(), pa.array(['{"a":1}', None]), ['{"a":1}', None]),
    "bool8": (pa.bool8(), pa.array([1, None], pa.int8()), [1, None]),
    "tensor": (
        pa.fixed_shape_tensor(pa.int32(), [2]),
        pa.array([[1, 2], None], pa.list_(pa.int32(), 2)),
        [[1, 2], None],
    ),
}


@pytest.mark.parametrize("kind", EXTENSIONS)
@pytest.mark.parametrize("in_list", [False, True])
def test_extension_types(tmp_path: Path, kind: str, in_list: bool) -> None:
    """An extension type is read as its storage, at any depth."""
    dtype, storage, values = EXTENSIONS[kind]
    array = pa.ExtensionArray.from_storage(dtype, storage)
    table = pa.table({"x": pa.ListArray.from_arrays([0, 1, 2], array) if in_list else array})
    pq.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")["x"]
    assert found.to_list() == ([[value] for value in values] if in_list else values)
