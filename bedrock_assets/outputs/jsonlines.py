"""
Lines of JSON become columns: fast where every line is as it should be, line by line where one is not.

A chunk is decoded twice as fast by polars' `json_decode` as by its reader of JSON Lines, but all of it fails if a value
has another type than the schema; then the reader decides, which puts a null in that value's place.
"""

import io
from collections.abc import Iterator, Mapping

import polars as pl
from polars.exceptions import ComputeError, PolarsError

Schema = Mapping[str, pl.DataType]

HEAD = r'^\s*\{\s*("recordId"\s*:\s*"[^"\\]*"\s*,)'
"""A record id that is a line's first key."""
_COMPRESSED = (b"\x1f\x8b", b"x\x01", b"x\x9c", b"x\xda", b"(\xb5/\xfd")
"""Polars unpacks what begins like gzip, zlib or zstd, to any size; no JSON does. Source: polars-io 2.1."""


def decode(content: bytes, schema: Schema, *, skip_input: bool = False) -> pl.DataFrame | None:
    """
    One row a line, null where a value has another type than *schema*; None if a line is no JSON object.

    Args:
        content: Whole lines.
        skip_input: Leave out what stands between a record's id and its `modelOutput`, without looking at it. It pays
            where prompts are longer than answers.
    """
    frame = _decode_strictly(content, schema, skip_input=skip_input)
    return _decode_leniently(content, schema) if frame is None else frame


def decode_around_bad_lines(lines: list[bytes], schema: Schema, first: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """
    Decode lines some of which are bad, by halving until a bad one stands alone.

    Yields:
        Position of the first line, and a frame of consecutive lines; a bad line is a row of nulls.
    """
    frame = decode(b"\n".join(lines), schema) if lines else None
    if frame is not None or not lines:
        yield first, pl.DataFrame(schema=schema) if frame is None else frame
    elif len(lines) == 1:
        yield first, pl.DataFrame([[None]] * len(schema), schema=schema)
    else:
        half = len(lines) // 2
        yield from decode_around_bad_lines(lines[:half], schema, first)
        yield from decode_around_bad_lines(lines[half:], schema, first + half)


def split_lines(content: bytes) -> pl.DataFrame:
    """
    Column `line`, String, without a loop over lines.

    No control character is raw in JSON, so that \\x01 separates no columns.

    Raises:
        PolarsError: A line is no UTF-8, or has that character; or all of it is compressed.
    """
    if content.startswith(_COMPRESSED):
        raise ComputeError("compressed data is no text")
    return pl.read_csv(
        io.BytesIO(content),
        has_header=False,
        separator="\x01",
        quote_char=None,
        new_columns=["line"],
        infer_schema=False,
    )


def without_input(lines: pl.DataFrame) -> pl.DataFrame:
    """
    Column `line` without the `modelInput` of lines that have an answer: only the record id may stand before that.

    A quote inside a JSON string is escaped, so `"modelOutput"` is found as a key or a whole value only. If it is not a
    key of the outermost object, what follows it is no JSON with one brace before it, and decoding fails. A line with
    two ids is left whole, because it may be two lines run together, and so is one with an error. (A request that has
    that key itself, in a line that has lost as many closing braces, would deceive it; no family's request has it.)
    """
    line = pl.col("line")
    found = lines.select(
        "line",
        at=line.str.find('"modelOutput"', literal=True),
        head=line.str.extract(HEAD),
        one_id=line.str.count_matches('"recordId"', literal=True) == 1,
        error=line.str.contains('"error"', literal=True),
    ).with_columns(tail=line.cast(pl.Binary).bin.slice(pl.col("at")).cast(pl.String))
    has_id = pl.col("head").is_not_null() | pl.col("tail").str.contains('"recordId"', literal=True)
    short = pl.concat_str(pl.lit("{"), pl.col("head").fill_null(""), pl.col("tail"))
    usable = pl.col("at").is_not_null() & pl.col("one_id") & ~pl.col("error") & has_id
    return found.select(line=pl.when(usable).then(short).otherwise(line))


def _decode_strictly(content: bytes, schema: Schema, *, skip_input: bool) -> pl.DataFrame | None:
    """As `decode`; None if anything at all is odd."""
    try:
        lines = split_lines(content)
        if lines["line"].null_count():
            return None
        short = without_input(lines) if skip_input else lines
        return short.select(pl.col("line").str.json_decode(pl.Struct(schema))).unnest("line")
    except PolarsError:
        return None


def _decode_leniently(content: bytes, schema: Schema) -> pl.DataFrame | None:
    if content.startswith(_COMPRESSED):
        return None
    try:
        frame = pl.read_ndjson(io.BytesIO(content), schema=schema, ignore_errors=True)
    except PolarsError:
        return None
    return frame if len(frame) == _count(content) else None


def _count(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n"))
