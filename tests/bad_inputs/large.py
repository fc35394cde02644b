"""
Large inputs: each is read in a process of its own, and its memory is measured there.

The process first reads a good small input of the same format. So what the libraries take to start is not counted.
"""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_assets.sources import csv_files
from bedrock_assets.storage.store import Store
from tests.bad_inputs.attempts import Case, Fate, tried
from tests.bad_inputs.memory import ALLOWANCE
from tests.labs.stages import Stages, build_pipeline, texts

MB = 1024 * 1024
SIZE = 160 * MB
"""Bytes of a large input: so many that twice of them is far more than the libraries' own share."""
LINE = 200
N_COLUMNS = 10_000
DEADLINE_S = 300
COLUMN_BYTES = 64 * 1024
"""Bytes of the buffers that polars gives each column, with a margin. Measured, polars 2.1: 45 KB for CSV, 20 KB for
Parquet."""


@dataclass(frozen=True)
class Large:
    """A large input."""

    file: str
    write: Callable[[Path], int]
    """Writes the file; its size in bytes, unpacked."""
    fate: Literal["refused", "taken"]
    times: int = 2
    """How many times its size it may take."""
    n_columns: int = 0
    """Columns to which the reader gives a buffer each, whatever is in them."""


@dataclass(frozen=True)
class Taken:
    """What became of it, in its process."""

    fate: Fate
    said: str
    took_s: float
    peak: int
    """Bytes."""
    n_bytes: int
    """Of the input, unpacked."""


def _lines(file: IO[bytes], n_bytes: int, head: bytes, line: Callable[[int], bytes]) -> int:
    n_written = file.write(head)
    for start in range(0, sys.maxsize, 10_000):
        if n_written >= n_bytes:
            return n_written
        n_written += file.write(b"".join(line(i) for i in range(start, start + 10_000)))
    return n_written


def _csv_line(i: int) -> bytes:
    return f"c{i},{'a text of some length ' * (LINE // 22)}{i}\n".encode()


def _json_line(i: int) -> bytes:
    return f'{{"id": "c{i}", "text": "{"a text of some length " * (LINE // 22)}{i}"}}\n'.encode()


def _csv(path: Path) -> int:
    with path.open("wb") as file:
        return _lines(file, SIZE, b"id,text\n", _csv_line)


def _gzipped(n_bytes: int) -> Callable[[Path], int]:
    def write(path: Path) -> int:
        with gzip.open(path, "wb", compresslevel=1) as file:
            return _lines(file, n_bytes, b"id,text\n", _csv_line)  # pyright: ignore[reportArgumentType]

    return write


def _zst(path: Path) -> int:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        n_written = file.write(b"id,text\n")
        while n_written <= csv_files.MAX_UNPACKED_BYTES:
            n_written += file.write(b"".join(map(_csv_line, range(100_000))))
    return n_written


def _jsonl(path: Path) -> int:
    with path.open("wb") as file:
        return _lines(file, SIZE, b"", _json_line)


def _one_line(path: Path) -> int:
    return path.write_bytes(b'{"id": "c0", "text": "' + b"a text of some length " * (100 * MB // 22) + b'"}\n')


def _one_csv_value(path: Path) -> int:
    return path.write_bytes(b'id,text\nc0,"' + b"a text of some length " * (100 * MB // 22) + b'"\n')


def _parquet(path: Path) -> int:
    n_rows = SIZE // LINE
    text = pl.format("{}{}", pl.lit("a text of some length " * (LINE // 22)), pl.col("id"))
    rows = pl.select(id=pl.format("c{}", pl.int_range(n_rows))).with_columns(text=text)
    rows.write_parquet(path, row_group_size=n_rows, compression="uncompressed")
    assert pq.ParquetFile(path).num_row_groups == 1
    return path.stat().st_size


def _wide_rows(n_rows: int) -> pl.DataFrame:
    columns = [pl.Series(f"column_{i}", [f"value {i} {row}" for row in range(n_rows)]) for i in range(N_COLUMNS)]
    return texts(n_rows).hstack(columns)


def _wide_csv(path: Path) -> int:
    _wide_rows(300).write_csv(path)
    return path.stat().st_size


def _wide_parquet(path: Path) -> int:
    _wide_rows(300).write_parquet(path, compression="uncompressed")
    return path.stat().st_size


LARGE = {
    "a CSV": Large("a.csv", _csv, "taken"),
    # A value is in memory whole, and polars makes copies of it; each is as large as the file here.
    "a CSV of one value": Large("a.csv", _one_csv_value, "refused", times=12),
    "a CSV that is packed (gzip)": Large("a.csv", _gzipped(SIZE), "taken"),
    "a CSV that unpacks to more than 1 GiB (zstd)": Large("a.csv", _zst, "refused"),
    "a JSONL": Large("a.jsonl", _jsonl, "taken"),
    "a JSONL that is packed": Large("a.jsonl", _gzipped(SIZE), "refused"),
    "a JSONL of one line": Large("a.jsonl", _one_line, "refused"),
    # A row group is decoded whole; and the file is mapped, so that its pages count, which the kernel may take back.
    "a Parquet of one row group": Large("a.parquet", _parquet, "taken", times=3),
    "a CSV of 10,000 columns": Large("a.csv", _wide_csv, "taken", n_columns=N_COLUMNS),
    "a Parquet of 10,000 columns": Large("a.parquet", _wide_parquet, "taken", n_columns=N_COLUMNS),
}


def allowed(large: Large, n_bytes: int) -> int:
    """How many bytes of memory an input of this size, unpacked, may take."""
    return ALLOWANCE + large.times * n_bytes + large.n_columns * COLUMN_BYTES


def attempt(large: Large, folder: Path) -> Taken:
    """Write an input, and read it in a process of its own."""
    n_bytes = large.write(folder / large.file)
    command = [sys.executable, "-m", "tests.bad_inputs.large", str(folder / large.file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert ended.returncode == 0, ended.stderr
    return Taken(**json.loads(ended.stdout.splitlines()[-1]), n_bytes=n_bytes)


def _read(path: Path, folder: Path) -> Fate:
    """Ingest the file and format all of its shards, as the assets do before anything is paid."""
    folder.mkdir()
    Stages.of(build_pipeline(path, id_column="id"), Store(str(folder / "bucket")))
    return "taken"


def main(path: Path) -> None:
    """Read a small input, then the file, and print what became of it."""
    small = path.with_name(f"small{path.suffix}")
    rows = texts(20)
    {".csv": rows.write_csv, ".jsonl": rows.write_ndjson, ".parquet": rows.write_parquet}[path.suffix](small)
    first = tried(Case("large", "small", lambda folder: _read(small, folder / "store")), path.parent / "small")
    assert first.fate == "taken", first.said
    made = tried(
        Case("large", "large", lambda folder: _read(path, folder / "store")), path.parent / "large", DEADLINE_S
    )
    print(json.dumps({"fate": made.fate, "said": made.said, "took_s": made.took_s, "peak": made.peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
