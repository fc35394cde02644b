"""
Dates, datetimes and durations that polars can hold but not write as text: it panics at years beyond 262,142.

Such values come from files in which another unit was meant, or from sentinels. They stay in the table as they are.
"""

import polars as pl
from polars.datatypes import DataTypeClass

from bedrock_assets.columns import fields

FIRST_DAY, LAST_DAY = -96_465_292, 95_026_236
"""Days from 1970-01-01 to the first and last day of chrono's calendar, which polars uses. Source: chrono 0.4."""
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000}
"""Nanoseconds in 64 bits end in the year 2262, so they are always inside."""
_MIN_INT64 = -(2**63)


def within_calendar(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    """*value* with a null in place of each moment outside the calendar, at any depth."""
    if not _holds_moments(dtype):
        return value
    if isinstance(dtype, pl.Struct):
        members = fields(value, dtype)
        inside = [within_calendar(members[f.name], f.dtype).alias(f.name) for f in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(inside))
    if isinstance(dtype, pl.List):
        return value.list.eval(within_calendar(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Array):
        return value.arr.to_list().list.eval(within_calendar(pl.element(), dtype.inner))
    return pl.when(_is_inside(value, dtype)).then(value)


def moment_text(value: pl.Expr, dtype: pl.DataType, text: pl.Expr) -> pl.Expr:
    """
    The text of a date, datetime or duration; of one outside the calendar, its number and unit.

    Args:
        text: The text of a value inside.
    """
    unit = "days" if dtype == pl.Date else getattr(dtype, "time_unit", "ms")
    since = "" if dtype == pl.Duration else " since 1970-01-01"
    outside = pl.format(f"{{}} {unit}{since}", value.to_physical())
    return pl.when(_is_inside(value, dtype)).then(text).when(value.is_not_null()).then(outside)


def outside_calendar(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr | None:
    """String: the numbers of a value with moments outside the calendar, else empty; None if *dtype* has no moments."""
    if not _holds_moments(dtype) or _holds_others(dtype):
        return None
    numbers = pl.struct(v=value.to_physical()).struct.json_encode()
    is_outside = value.ne_missing(within_calendar(value, dtype))
    return pl.when(is_outside).then(numbers).otherwise(pl.lit(""))


def _is_inside(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    number = value.to_physical()
    if isinstance(dtype, pl.Duration):
        return number != _MIN_INT64
    per_day = _PER_DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
    return number.is_between(FIRST_DAY * per_day, (LAST_DAY + 1) * per_day - 1)


def _holds_moments(dtype: pl.DataType | DataTypeClass) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_holds_moments(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_moments(dtype.inner)
    if isinstance(dtype, pl.Datetime | pl.Duration):
        return dtype.time_unit in _PER_DAY
    return dtype == pl.Date


def _holds_others(dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether values have a part whose number says nothing across frames, or cannot be encoded."""
    if isinstance(dtype, pl.Struct):
        return any(_holds_others(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_others(dtype.inner)
    return dtype == pl.Binary or dtype == pl.Categorical  # noqa: PLR1714 - a dtype is equal to its class, not in a set
