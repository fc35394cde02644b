"""
Record ids: one for people and tables, one for requests.

`record_id` is the user's own id as text, or 9 digits of the row's position and 7 hex digits of a hash of its content.
Bedrock documents `recordId` only as "alphanumeric", so an id that is not short and plain is sent as a hash of itself.
BLAKE3 and SHA-256 give the same ids on any machine and in any release; polars's own `hash` does not promise that.
"""

from collections.abc import Iterable, Mapping

import polars as pl
import polars_hash as plh
from polars.datatypes import DataTypeClass

from bedrock_assets.columns import column as exactly
from bedrock_assets.columns import fields
from bedrock_assets.errors import InvalidRecordIds
from bedrock_assets.pipeline.moments import outside_calendar, within_calendar

RECORD_ID = "record_id"
GIVEN_ID = "given_id"
"""The ids that the records of an inbox file came with, where they cannot be ours: absent ones, or repeated ones."""
WIRE_ID = r"^[A-Za-z0-9_]{1,32}$"
PADDING_ID = r"^padding\d{26}$"
"""Ids of copies that fill a file up to Bedrock's minimum; longer than any wire id, so never an id of a row."""
COMPARED_AT_ONCE = 8_000_000
"""Ids to compare in one pass: 64 MB of hashes, whatever the number of rows."""


def content_hash(schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """String: 64 hex digits per row, over all columns of *schema*."""
    parts = [
        # The hash is a plugin, whose interface ends a name at the first NUL.
        encodable(exactly(name), dtype).alias(name if "\0" not in name else f"{i} {name.replace(chr(0), '')}")
        for i, (name, dtype) in enumerate(schema.items())
    ]
    extra = [odd for name, dtype in schema.items() if (odd := outside_calendar(exactly(name), dtype)) is not None]
    encoded = pl.struct(parts).struct.json_encode() if parts else pl.lit("{}")
    return _hashed(pl.concat_str(encoded, *extra) if extra else encoded).blake3()


def derived_id(position: int, content: pl.Expr) -> pl.Expr:
    """String: 16 characters per row, unique by the row's position; the first row has *position*."""
    row = pl.int_range(position, position + pl.len(), dtype=pl.Int64).cast(pl.String).str.zfill(9)
    return row + content.str.head(7)


def wire_id(record_id: pl.Expr) -> pl.Expr:
    """String, the `recordId` of a record: the id itself if short and plain, else `h` and 31 hex digits of its hash."""
    digest = pl.lit("h") + sha256(record_id).str.head(31)
    return pl.when(record_id.str.contains(WIRE_ID)).then(record_id).otherwise(digest)


def sha256(text: pl.Expr) -> pl.Expr:
    """SHA-256 of a String as 64 hex digits."""
    return _hashed(text).sha2_256()


def require_ids(frame: pl.DataFrame, column: str, position: int) -> None:
    """
    Check that a frame has an id in each row.

    Args:
        position: Position of the first row in the dataset.

    Raises:
        InvalidRecordIds: There is no such column, its values are not plain ones, or it has nulls.
    """
    if column not in frame.columns:
        raise InvalidRecordIds(f"id_column {column!r} is not in the dataset; it has: {', '.join(frame.columns)}")
    dtype = frame.schema[column]
    if dtype.is_nested() or dtype == pl.Binary:
        raise InvalidRecordIds(
            f"id_column {column!r} holds {'bytes' if dtype == pl.Binary else dtype}, but an id is a text or a number; "
            "write ids as text (UUIDs as `str(uuid)`), or remove id_column to derive ids"
        )
    is_null = (frame[column].fill_nan(None) if dtype.is_float() else frame[column]).is_null()
    if is_null.any():
        first = is_null.arg_true()[0] + position
        raise InvalidRecordIds(
            f"id_column {column!r} has nulls, the first in row {first} (counted from 0); fill them, "
            "or remove id_column to derive ids"
        )


def require_unique(ids: Iterable[pl.Series], n_rows: int, column: str) -> None:
    """
    Check that no id is repeated.

    Args:
        ids: All ids of the dataset, String, in pieces; read once per 8 million rows, and again if hashes repeat.

    Raises:
        InvalidRecordIds: Ids are repeated; the message shows up to five.
    """
    n_passes = -(-n_rows // COMPARED_AT_ONCE)
    for part in range(n_passes):
        hashes = (piece.hash(0) for piece in ids)
        kept = pl.concat(h if n_passes == 1 else h.filter(h % n_passes == part) for h in hashes)
        repeated = kept.filter(kept.is_duplicated()).unique()
        if len(repeated):
            _refuse_repeated(ids, repeated, column)


def _refuse_repeated(ids: Iterable[pl.Series], hashes: pl.Series, column: str) -> None:
    """Compare the ids whose hashes repeat; different ids may share a hash."""
    suspects = pl.concat(piece.filter(piece.hash(0).is_in(hashes.implode())) for piece in ids)
    repeated = suspects.to_frame("id").group_by("id").len().filter(pl.col("len") > 1).sort("id").head(5)
    if len(repeated):
        examples = ", ".join(f"{key!r} ({n} times)" for key, n in repeated.iter_rows())
        raise InvalidRecordIds(
            f"id_column {column!r} is not unique: {examples}; name a unique column, or remove id_column to derive ids"
        )


def holds_binary(dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether values of *dtype* contain bytes at any depth, such as images."""
    if isinstance(dtype, pl.Struct):
        return any(holds_binary(field.dtype) for field in dtype.fields)
    return holds_binary(dtype.inner) if isinstance(dtype, (pl.List, pl.Array)) else dtype == pl.Binary


def encodable(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    """*value* with all binary in base64, because JSON has no binary type, and without moments outside the calendar."""
    if not holds_binary(dtype):
        return within_calendar(value, dtype)
    if isinstance(dtype, pl.Struct):
        members = fields(value, dtype)
        encoded = [encodable(members[f.name], f.dtype).alias(f.name) for f in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(encoded))
    if isinstance(dtype, (pl.List, pl.Array)):
        items = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        return items.list.eval(encodable(pl.element(), dtype.inner))
    return value.bin.encode("base64")


def _hashed(text: pl.Expr) -> plh.CryptographicHashingNameSpace:
    return plh.CryptographicHashingNameSpace(text)
