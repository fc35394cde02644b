"""
Decode JSON Lines into columns: fast where every line is well formed, and line by line where one is not.

Polars' `json_decode` is twice as fast as its reader of JSON Lines, but fails for a whole chunk if one value has another
type than the schema. The reader is used then: it puts a null in the place of that value.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass
from polars.exceptions import ComputeError, PolarsError
from pydantic_core import from_json

from bedrock_assets.sources.json_lines import whole_characters

Schema = Mapping[str, pl.DataType]

HEAD = r'^\s*\{\s*("recordId"\s*:\s*"[^"\\]*"\s*,)'
"""Matches a record id that is the first key of a line."""
_ID, _OUTPUT, _USUAL = '"recordId"', '"modelOutput"', '{"recordId"'
_HALVES = (r"\ud", r"\uD")
"""How the escape of a half of a character begins; two halves may make a whole one."""
_COMPRESSED = (b"\x1f\x8b", b"x\x01", b"x\x9c", b"x\xda", b"(\xb5/\xfd")
"""First bytes of gzip, zlib and zstd, which polars would decompress to any size. Source: polars-io 2.1."""


@dataclass(frozen=True)
class Decoded:
    """Lines as columns, and the text they were read from."""

    frame: pl.DataFrame
    text: pl.Series | None = None
    """The lines, String, without the inputs that were skipped; None where a line was irregular."""

    def may_hold(self, mark: str, content: bytes) -> bool:
        """Whether *mark* is in what was read of *content*."""
        return mark.encode() in content if self.text is None else bool(self.text.str.contains(mark, literal=True).any())


def decode(content: bytes, schema: Schema, *, skip_input: bool = False) -> pl.DataFrame | None:
    """
    Decode lines into one row each.

    Args:
        content: Whole lines.
        skip_input: Skip the text between a record's id and its `modelOutput` without parsing it, which is faster if
            prompts are longer than answers.

    Returns:
        Columns of *schema*, null where a value has another type. None if a line is not a JSON object.
    """
    decoded = decode_with_text(content, schema, skip_input=skip_input)
    return None if decoded is None else decoded.frame


def decode_with_text(content: bytes, schema: Schema, *, skip_input: bool = False) -> Decoded | None:
    """As `decode`, with the text as well."""
    decoded = _decode_strictly(content, schema, skip_input=skip_input)
    if decoded is None and any(escape.encode() in content for escape in _HALVES):
        content = whole_characters(content)
        decoded = _decode_strictly(content, schema, skip_input=skip_input, is_whole=True)
    return _decode_leniently(content, schema) if decoded is None else decoded


def decode_line_by_line(lines: Sequence[bytes], schema: Schema) -> pl.DataFrame:
    """
    Decode lines of which some are bad, in time linear in their bytes whatever is broken.

    Returns:
        One row for each line, with the columns of *schema*; a bad line is a row of nulls.
    """
    values = list(map(_object, lines))
    known = pl.Series([value is not None for value in values], dtype=pl.Boolean)
    good = b"\n".join(line for line, value in zip(lines, values, strict=True) if value is not None)
    frame = decode(good, schema) if good else pl.DataFrame(schema=schema)
    if frame is None:  # polars refuses a line that is JSON to others, such as one that is nested too deeply
        fitted = (json.dumps(_fitted(value, pl.Struct(schema))) for value in values if value is not None)
        text = pl.Series(fitted, dtype=pl.String).to_frame("line")
        frame = text.select(pl.col("line").str.json_decode(pl.Struct(schema))).unnest("line")
    positions = pl.DataFrame({"known": known}).select(
        pl.when("known").then(pl.col("known").cum_sum().cast(pl.Int64) - 1)
    )
    return frame[positions.to_series()] if len(frame) else pl.DataFrame([[None] * len(lines)] * len(schema), schema)


def lines_of(chunk: bytes) -> list[bytes]:
    """The lines that are not blank."""
    return [line for line in chunk.split(b"\n") if line.strip()]


def _object(line: bytes) -> dict[str, Any] | None:
    """A line's JSON object; None if it is none."""
    try:
        value = from_json(whole_characters(line), allow_inf_nan=False)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _fitted(value: Any, dtype: pl.DataType | DataTypeClass) -> Any:
    """The part of a JSON value that a type has; null for a value of another type."""
    if isinstance(dtype, pl.Struct):
        if not isinstance(value, dict):
            return None
        return {field.name: _fitted(value.get(field.name), field.dtype) for field in dtype.fields}
    if isinstance(dtype, pl.List | pl.Array):
        return [_fitted(item, dtype.inner) for item in value] if isinstance(value, list) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if dtype == pl.String:
        return str(value) if is_number or isinstance(value, str) else None
    if dtype == pl.Boolean:
        return value if isinstance(value, bool) else None
    return value if is_number else None  # 1e400 is JSON, but no number of ours


def split_lines(content: bytes) -> pl.DataFrame:
    """
    Split content into column `line`, String, without a loop over lines.

    JSON has no raw control characters, so \\x01 never separates columns.

    Raises:
        PolarsError: A line is not UTF-8 or contains \\x01, or the content is compressed.
    """
    if content.startswith(_COMPRESSED):
        raise ComputeError("compressed data is not text")
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
    Cut the `modelInput` out of lines that have an answer, in column `line`.

    A quote inside a JSON string is escaped, so `"modelOutput"` can only be a key or a whole value. If it is not a key
    of the outermost object, the shortened line is not JSON and decoding fails. A line with two ids may be two lines
    that ran together, so it stays whole, as does a line with an error. (A request with that key itself, in a line that
    has lost as many closing braces, would be misread; no family's request has it.)
    """
    usual = lines["line"].str.starts_with(_USUAL).all()
    parts = lines.select("line", **(_usual_parts() if usual else _any_parts()))
    short = pl.concat_str(pl.lit("{"), pl.col("head").fill_null(""), pl.col("tail"))
    if not parts["usable"].all():
        short = pl.when("usable").then(short).otherwise("line")
    return parts.select(line=short)


def _any_parts() -> dict[str, pl.Expr]:
    """`head` and `tail` of a line, String, that are left of it, and `usable`, whether it may be cut, Boolean."""
    line = pl.col("line")
    head, tail = line.str.extract(HEAD), _tail()
    has_id = head.is_not_null() | tail.str.contains(_ID, literal=True)
    one_id = line.str.count_matches(_ID, literal=True) == 1
    return {"head": head, "tail": tail, "usable": _answered() & one_id & has_id}


def _usual_parts() -> dict[str, pl.Expr]:
    """As `_any_parts`, of lines that begin with their id: there is another one if one begins after the brace."""
    line = pl.col("line")
    head, one_id = line.str.extract(HEAD), ~line.str.slice(len(_USUAL) - len(_ID) + 1).str.contains(_ID, literal=True)
    return {"head": head, "tail": _tail(), "usable": _answered() & one_id & head.is_not_null()}


def _answered() -> pl.Expr:
    """Whether a line has an output and no error."""
    line = pl.col("line")
    return line.str.find(_OUTPUT, literal=True).is_not_null() & ~line.str.contains('"error"', literal=True)


def _tail() -> pl.Expr:
    """A line from its output on."""
    line = pl.col("line")
    return line.cast(pl.Binary).bin.slice(line.str.find(_OUTPUT, literal=True)).cast(pl.String)


def _decode_strictly(content: bytes, schema: Schema, *, skip_input: bool, is_whole: bool = False) -> Decoded | None:
    """As `decode`, but None for any irregularity; *is_whole* says that there is no half of a character."""
    try:
        lines = split_lines(content)
        if lines["line"].null_count() or not (is_whole or _is_whole(lines["line"])):
            return None
        short = without_input(lines) if skip_input else lines
        frame = short.select(pl.col("line").str.json_decode(pl.Struct(schema))).unnest("line")
    except PolarsError:
        return None
    return Decoded(frame, short["line"])


def _is_whole(lines: pl.Series) -> bool:
    """Whether `whole_characters` has nothing to do. Polars looks for fixed text many times faster than Python does."""
    return not any(lines.str.contains(escape, literal=True).any() for escape in _HALVES)


def _decode_leniently(content: bytes, schema: Schema) -> Decoded | None:
    if content.startswith(_COMPRESSED):
        return None
    try:
        frame = pl.read_ndjson(io.BytesIO(content), schema=schema, ignore_errors=True)
    except PolarsError:
        return None
    return Decoded(frame) if len(frame) == _count(content) else None


def _count(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n"))
