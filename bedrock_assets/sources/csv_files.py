"""CSV files: their columns are text unless a dtype is named, and what polars would misread is refused."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError

HEAD_BYTES = 65_536
MAX_UNPACKED_BYTES = 1024**3
"""A compressed file is unpacked in memory, so that one of a few megabytes could take all of it."""
_PACKED = {b"\x1f\x8b": "gzip", b"(\xb5/\xfd": "zstd"}
"""First bytes of compressed files, which polars unpacks whatever their name. Source: polars-io 2.1."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TRUE, _FALSE = ["true", "t", "yes", "y", "1"], ["false", "f", "no", "n", "0"]
_DECIMAL = re.compile(r"Decimal\((\d+), ?(\d+)\)")
_NO_TEXT = (pl.Object, pl.Enum, pl.Unknown, pl.Duration, pl.DataType)
"""Dtypes that polars reads from no text."""
_DATE_CHARS = len("2026-11-01")
DECIMAL = pl.Decimal(38, 10)
"""`Decimal` without digits."""


def scan_csv(path: str | list[str], dtypes: Mapping[str, str], **options: Any) -> pl.LazyFrame:
    """
    Scan CSV files; dtypes inferred per file would lose leading zeros, and may differ.

    Args:
        dtypes: Names of polars dtypes, by column.
        options: For polars.

    Raises:
        ConfigError: A dtype is none.
    """
    scan = pl.scan_csv(path, infer_schema=False, **options)
    return scan.with_columns(_typed(name, dtype) for name, dtype in dtypes.items())


def require_readable(name: str) -> None:
    """
    Look at the beginning of a local file.

    Raises:
        ConfigError: It is not UTF-8, its lines end in CR alone, or it is compressed and too large.
    """
    with Path(name).open("rb") as file:
        head = file.read(HEAD_BYTES)
    packing = next((packing for magic, packing in _PACKED.items() if head.startswith(magic)), None)
    if packing:
        _require_small(name, packing)
        return
    if head.startswith(_UTF16) or b"\x00" in head:
        raise ConfigError(f"source {name!r} is not UTF-8 but looks like UTF-16; save it as UTF-8")
    if b"\r" in head and b"\n" not in head:
        raise ConfigError(f"source {name!r}: its lines end in CR alone; save it with line ends of Unix or Windows")
    first = head.partition(b"\n")[0]
    if problem := encoding_problem(first):
        raise ConfigError(f"source {name!r}, line 1: {problem}")


def encoding_problem(line: bytes) -> str | None:
    """What is wrong with the encoding of a line, and its cure; None if it is UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and len(line) == HEAD_BYTES:
            return None
        return (
            f"byte 0x{line[error.start]:02x} is not UTF-8; save the file as UTF-8, for example "
            "`iconv -f latin1 -t utf-8`"
        )
    return None


def explain(names: Sequence[str]) -> str | None:
    """Where local files cannot be read, with file, line and cure; None if nothing is found."""
    for name in names:
        with Path(name).open("rb") as file:
            for number, line in enumerate(file, 1):
                if problem := encoding_problem(line):
                    return f"{name}, line {number}: {problem}"
        n_columns = 0
        try:
            for line, row in _records(name):
                n_columns = n_columns or len(row)
                if len(row) > n_columns:
                    return f"{name}, line {line}: {len(row)} values, but {n_columns} columns; quote values with commas"
        except csv.Error as error:
            return str(error)
    return None


def may_lack_rows(rows: pl.DataFrame) -> bool:
    """
    Whether a value has a line break, or a name a quote: both may be meant, or the sign of a stray quote that has
    swallowed rows.
    """
    if any('"' in name or "\n" in name for name in rows.columns):
        return True
    breaks = rows.select(cs.string().str.contains("\n", literal=True).any())
    return bool(breaks.width) and any(breaks.row(0))


def require_quotes(names: Sequence[str], n_rows: int) -> None:
    """
    Check the quotes of files strictly (RFC 4180); see `may_lack_rows`.

    Args:
        n_rows: Rows that polars finds.

    Raises:
        ConfigError: A quote is not where quotes are allowed, or there are other rows than polars finds.
    """
    n_records = 0
    for name in names:
        try:
            n_records += sum(bool(row) for _, row in _records(name)) - 1
        except csv.Error as error:
            raise ConfigError(f"source {error}") from error
    if n_records != n_rows:
        raise ConfigError(
            f"source {names[0]!r}: by its quotes it has {n_records} rows, but {n_rows} are read; a quote is missing or "
            "too many"
        )


def _records(name: str) -> Iterator[tuple[int, list[str]]]:
    """
    Records of a file with the number of the line that each ends in.

    Raises:
        csv.Error: The quotes are wrong; with file, line and cure.
    """
    csv.field_size_limit(2**31 - 1)
    with Path(name).open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader, start = csv.reader(file, strict=True), 1
        try:
            for row in reader:
                yield reader.line_num, row
                start = reader.line_num + 1
        except csv.Error as error:
            raise csv.Error(
                f"{name}, record that begins in line {start}: {error}; a quote in a value is doubled, and the value is "
                "in quotes"
            ) from error


def _require_small(name: str, packing: str) -> None:
    import pyarrow as pa

    n_bytes = 0
    try:
        with pa.CompressedInputStream(pa.OSFile(name), packing) as stream:
            while piece := stream.read(16 * 1024 * 1024):
                n_bytes += len(piece)
                if n_bytes > MAX_UNPACKED_BYTES:
                    raise ConfigError(
                        f"source {name!r} is compressed ({packing}) and unpacks to more than "
                        f"{MAX_UNPACKED_BYTES:,} bytes; unpack it, or write it as Parquet"
                    )
    except OSError as error:
        raise ConfigError(f"source {name!r} is compressed ({packing}) and cannot be unpacked: {error}") from error


def _typed(name: str, written: str) -> pl.Expr:
    text, dtype = column(name).str.strip_chars(), _dtype(name, written)
    if dtype == pl.Date:
        return text.str.to_date("%Y-%m-%d")
    if dtype == pl.Datetime:
        midnight = pl.when(text.str.len_chars() == _DATE_CHARS).then(pl.lit(" 00:00:00")).otherwise(pl.lit(""))
        moment = pl.concat_str(text.str.replace("T", " ", literal=True), midnight).alias(name)
        return moment.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us")
    if dtype == pl.Time:
        return text.str.to_time("%H:%M:%S%.f")
    if dtype == pl.Boolean:
        return _boolean(name, text)
    if isinstance(dtype, pl.Decimal):
        return text.cast(dtype)
    return column(name).cast(dtype)


def _boolean(name: str, text: pl.Expr) -> pl.Expr:
    lower = text.str.to_lowercase()
    # An unknown word is left for the cast, which names it.
    digit = pl.when(lower.is_in(_TRUE)).then(pl.lit("1")).when(lower.is_in(_FALSE)).then(pl.lit("0")).otherwise(lower)
    return digit.cast(pl.Int8).cast(pl.Boolean).alias(name)


def _dtype(name: str, written: str) -> pl.DataType | type[pl.DataType]:
    if match := _DECIMAL.fullmatch(written):
        return pl.Decimal(int(match[1]), int(match[2]))
    dtype = DECIMAL if written == "Decimal" else getattr(pl, written, None)
    if isinstance(dtype, pl.Decimal):
        return dtype
    if isinstance(dtype, type) and issubclass(dtype, pl.DataType) and not dtype.is_nested() and dtype not in _NO_TEXT:
        return dtype
    raise ConfigError(
        f"dtypes: {name}: {written!r} is not a polars dtype; for example Int64, Float64, Boolean, Date, Datetime, "
        "Decimal(12, 2)"
    )
