"""
JSON Lines files: read in blocks of whole lines, so that an error names its line.

Polars reads a lone surrogate (half of an emoji, as JavaScript writes a text that was cut) as U+0000 or fails, and
rounds whole numbers above 2^53 where a column also has fractions.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import TypeVar

import polars as pl
from polars.datatypes import DataTypeClass
from polars.exceptions import PanicException, PolarsError
from pydantic_core import from_json

from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError, first_line
from bedrock_assets.sources.csv_files import encoding_problem
from bedrock_assets.sources.storable import storable_dtype
from bedrock_assets.storage.objects import READ_BYTES
from bedrock_assets.threads import map_ordered

Dtype = pl.DataType | DataTypeClass
Read = TypeVar("Read")

_LOW = rb"[dD][c-fC-F][0-9a-fA-F]{2}"
_SURROGATE = re.compile(rb"\\+u(?:[dD][89abAB][0-9a-fA-F]{2}(?:\\u" + _LOW + rb")?|" + _LOW + rb")")
MAX_LINE_BYTES = 32 * 1024 * 1024
"""More than any record may have. To decode a line takes several times its size."""
_PAIR_BYTES = len(rb"\ud83d\ude00")
_LONG_NUMBER = r"[:\[,]\s*-?[0-9]{16}"
_LONG_TEXT = r'(?:^|[\[:,"])(-?\d{16,})(?:$|[\],}"])'
_MARK = b"\xef\xbb\xbf"


def read_schema(names: list[str]) -> pl.Schema:
    """
    The columns of files, from all of their lines.

    Raises:
        ConfigError: A line is not a JSON object, or its values cannot be in one column with those before.
    """

    def infer(block: bytes) -> pl.Schema:
        return pl.scan_ndjson(io.BytesIO(block), infer_schema_length=None).collect_schema()

    schemas = (schema for name in names for schema in _each(name, infer))
    merged: dict[str, Dtype] = reduce(_merge_fields, schemas, {})
    return pl.Schema({name: storable_dtype(dtype) for name, dtype in merged.items()})


def read_rows(name: str, schema: pl.Schema) -> Iterator[pl.DataFrame]:
    """
    The rows of one file as they were when it was opened, in frames of some megabytes.

    Raises:
        ConfigError: As `read_schema`; or a number would be rounded.
    """

    def decode(block: bytes) -> pl.DataFrame:
        frame = pl.read_ndjson(io.BytesIO(block), schema=schema)
        _require_exact(name, block, schema)
        return frame

    yield from _each(name, decode)


def count_rows(name: str) -> int:
    """Lines that are not blank."""
    return sum(sum(1 for line in block.split(b"\n") if line.strip()) for _, block in _blocks(name))


def _each(name: str, read: Callable[[bytes], Read]) -> Iterator[Read]:
    """What *read* makes of each block of a file, several at once; an error names the line."""

    def explained(block: tuple[int, bytes]) -> Read:
        first, content = block
        try:
            return read(content)
        except (PolarsError, PanicException) as error:
            raise ConfigError(_explained(name, first, content, read, error)) from error

    return map_ordered(explained, (block for block in _blocks(name) if block[1].strip()))


def _blocks(name: str) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines, with the number of the first; what is appended to the file from now on is not read."""
    number, path = 1, Path(name)
    left = path.stat().st_size
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(READ_BYTES, left))):
            if not block.endswith(b"\n") and len(block) < left:
                block += file.readline(min(left - len(block), MAX_LINE_BYTES))
            if not block.endswith(b"\n") and len(block) < left:
                raise ConfigError(_too_long(name, number + block.count(b"\n")))
            left -= len(block)
            if left <= 0 and not block.endswith(b"\n") and path.stat().st_size > file.tell():
                block = block[: block.rfind(b"\n") + 1]  # the rest of this line is being written
            if number == 1:
                _require_lines(name, block)
                block = block.removeprefix(_MARK)
            yield number, whole_characters(block)
            number += block.count(b"\n")


def _too_long(name: str, number: int) -> str:
    return (
        f"source {name!r}, line {number} has more than {MAX_LINE_BYTES:,} bytes; if it has many objects, write one on "
        "each line, else leave out what is not sent, or write the rows as Parquet"
    )


def _require_lines(name: str, block: bytes) -> None:
    if block.startswith((b"\x1f\x8b", b"(\xb5/\xfd")):
        raise ConfigError(f"source {name!r} is compressed; unpack it, or write it as Parquet")
    if block.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in block[:100]:
        raise ConfigError(f"source {name!r} is not UTF-8 but looks like UTF-16; save it as UTF-8")
    if b"\r" in block and b"\n" not in block:
        raise ConfigError(f"source {name!r}: its lines end in CR alone; save it with line ends of Unix or Windows")
    if block.lstrip().startswith(b"["):
        raise ConfigError(f"source {name!r} is a JSON array; write one object a line, for example `jq -c '.[]'`")


def whole_characters(block: bytes) -> bytes:
    """JSON with U+FFFD in place of lone surrogates, each of which is half of a character."""

    def replace(match: re.Match[bytes]) -> bytes:
        slashes = len(match[0]) - len(match[0].lstrip(b"\\"))
        is_pair = len(match[0]) - slashes + 1 == _PAIR_BYTES
        if slashes % 2 == 0 or is_pair:
            return match[0]
        return match[0][: slashes - 1] + rb"\ufffd"

    return _SURROGATE.sub(replace, block) if b"\\u" in block and (b"\\ud" in block or b"\\uD" in block) else block


def _merge_fields(one: dict[str, Dtype], other: pl.Schema) -> dict[str, Dtype]:
    return one | {name: _merge(one.get(name, pl.Null()), dtype) for name, dtype in other.items()}


def _merge(one: Dtype, other: Dtype) -> Dtype:
    """The type for values of both; text, the JSON of each value, if there is no other."""
    if other in (one, pl.Null):
        return one
    if one == pl.Null:
        return other
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        first = {field.name: field.dtype for field in one.fields}
        second = pl.Schema({field.name: field.dtype for field in other.fields})
        return pl.Struct(_merge_fields(first, second))
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        return pl.List(_merge(one.inner, other.inner))
    if one.is_numeric() and other.is_numeric():
        return pl.Float64() if pl.Float64 in (one, other) else pl.Int128()
    return pl.String()


def _require_exact(name: str, block: bytes, schema: pl.Schema) -> None:
    """Refuse whole numbers that a column of fractions would round."""
    floats = {key: _as_digits(dtype) for key, dtype in schema.items() if _as_digits(dtype) != dtype}
    # Polars's regular expressions are many times as fast as Python's.
    if not floats or not pl.Series([block.decode("utf-8", "replace")]).str.contains(_LONG_NUMBER).item():
        return
    digits = pl.read_ndjson(io.BytesIO(block), schema=floats)
    for key, dtype in floats.items():
        value = column(key)
        text = pl.struct(v=value).struct.json_encode() if dtype.is_nested() else value
        for numbers in digits.select(text.str.extract_all(_LONG_TEXT).alias("n")).to_series().drop_nulls():
            for number in numbers:
                exact = int(re.sub(r"[^\d-]", "", number))
                if exact != int(float(exact)):
                    raise ConfigError(
                        f"source {name!r}: column {key!r} has fractions and the whole number {exact}, which it would "
                        "round; write the numbers as text"
                    )


def _as_digits(dtype: Dtype) -> Dtype:
    """A type with text in place of floats."""
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _as_digits(field.dtype) for field in dtype.fields})
    if isinstance(dtype, pl.List):
        return pl.List(_as_digits(dtype.inner))
    return pl.String() if dtype == pl.Float64 else dtype


def first_bad_line(lines: Sequence[bytes], can_read: Callable[[bytes], bool]) -> int:
    """
    The position of the first line that cannot be read, or not with those before it, in a few reads of all lines.

    Args:
        lines: At least one, which cannot be read together.
    """
    low, high = 0, len(lines)  # the first `low` lines can be read, the first `high` cannot
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if can_read(b"\n".join(lines[:middle])) else (low, middle)
    return low


def _explained(name: str, first: int, block: bytes, read: Callable[[bytes], object], error: BaseException) -> str:
    """The error of a block, with its first line that cannot be read, and the cure."""
    lines = block.split(b"\n")
    bad = first_bad_line(lines, partial(_can, read))
    return f"source {name!r}, line {first + bad}: {_problem(lines[bad], error)}"


def _can(read: Callable[[bytes], object], block: bytes) -> bool:
    try:
        if block.strip():
            read(block)
    except (PolarsError, PanicException, ConfigError):
        return False
    return True


def _problem(line: bytes, error: BaseException) -> str:
    if problem := encoding_problem(line):
        return problem
    try:
        value = from_json(line)
    except ValueError as broken:
        return f"not JSON: {broken}; correct or remove the line"
    if not isinstance(value, dict):
        return "not a JSON object; write {...} on each line"
    return f"{first_line(error)}; give its values the types that those before have, or write them as text"
