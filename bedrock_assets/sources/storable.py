"""Columns that polars reads but can neither write to Parquet nor turn into text get a type that it can."""

import polars as pl
from polars.datatypes import DataTypeClass

from bedrock_assets.columns import column, fields
from bedrock_assets.errors import ConfigError


def storable(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """
    Convert such columns; all others stay as they are.

    An extension type (`arrow.json`, `arrow.bool8`, tensors) becomes its storage type. An object without fields, as `{}`
    in each row of a JSON file, becomes the text `{}`.

    Args:
        what: The source, for the message.

    Raises:
        ConfigError: A column holds Python objects.
    """
    odd = {name: dtype for name, dtype in frame.schema.items() if _is_odd(dtype)}
    if not odd:
        return frame
    objects = [name for name, dtype in odd.items() if dtype == pl.Object]
    if objects:
        raise ConfigError(f"{what}: column {objects[0]!r} holds objects that no file can store; write it as text")
    return frame.with_columns(_converted(column(name), dtype).alias(name) for name, dtype in odd.items())


def storable_dtype(dtype: pl.DataType | DataTypeClass) -> pl.DataType | DataTypeClass:
    """The type that `storable` gives a column of *dtype*."""
    if isinstance(dtype, pl.Extension):
        return storable_dtype(dtype.ext_storage())
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: storable_dtype(f.dtype) for f in dtype.fields}) if dtype.fields else pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(storable_dtype(dtype.inner))
    return pl.Array(storable_dtype(dtype.inner), dtype.size) if isinstance(dtype, pl.Array) else dtype


def _is_odd(dtype: pl.DataType | DataTypeClass) -> bool:
    if isinstance(dtype, pl.Struct):
        return not dtype.fields or any(_is_odd(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _is_odd(dtype.inner)
    return isinstance(dtype, pl.Extension) or dtype == pl.Object


def _converted(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    if not _is_odd(dtype):
        return value
    if isinstance(dtype, pl.Extension):
        return _converted(value.ext.storage(), dtype.ext_storage())
    if isinstance(dtype, pl.List):
        return value.list.eval(_converted(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Array):
        return value.arr.eval(_converted(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Struct) and dtype.fields:
        members = fields(value, dtype)
        converted = [_converted(members[f.name], f.dtype).alias(f.name) for f in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(converted))
    return pl.when(value.is_not_null()).then(pl.lit("{}"))
