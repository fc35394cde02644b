"""How a column's values are distributed: shares of labels, or a histogram of numbers or of lengths."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from bedrock_assets.columns import column, fields

MAX_LABELS = 20
MAX_LABEL_CHARS = 120
"""More different values, or longer ones, are no labels but texts."""
N_BINS = 16
VALUE, COUNT = "value", "n"

Kind = Literal["labels", "numbers", "characters", "items"]


@dataclass(frozen=True)
class Bar:
    """A value, or a range of values."""

    label: str
    n: int
    share: float
    """Of all values, 0 to 1."""
    width: float
    """As a share of the longest bar, 0 to 1."""


@dataclass(frozen=True)
class Distribution:
    """The values of one column."""

    name: str
    kind: Kind
    n_values: int
    n_null: int
    bars: tuple[Bar, ...]
    is_range: bool
    """Whether the bars are ranges of numbers, in order; else labels, the most frequent first."""


@dataclass(frozen=True)
class _Values:
    """An expression whose values are counted."""

    name: str
    kind: Kind
    value: pl.Expr
    is_label: bool = False
    """Whether the values are labels whatever their number: of an enum, or Boolean."""


def distributions(rows: pl.LazyFrame, names: Mapping[str, str]) -> list[Distribution]:
    """
    Count the values of columns: a query for all, and then one for each.

    Args:
        names: Columns of *rows*, and what to call them.
    """
    schema = rows.collect_schema()
    found = [one for name, title in names.items() for one in _values(title, column(name), schema[name])]
    if not found:
        return []
    stats = rows.select(
        stat.alias(f"{i}-{of}") for i, one in enumerate(found) for of, stat in _stats(one).items()
    ).collect(engine="streaming")
    told = [{of: stats.item(0, f"{i}-{of}") for of in _stats(one)} for i, one in enumerate(found)]
    made = [_distribution(rows, one, facts) for one, facts in zip(found, told, strict=True) if facts["n"]]
    return [one for one in made if one.bars]


def _values(name: str, value: pl.Expr, dtype: pl.DataType) -> Iterator[_Values]:
    """What to count of a column; the fields of a struct are columns of their own."""
    match dtype:
        case pl.Struct():
            dtypes = pl.Schema(dtype.to_schema())
            for field, of_field in fields(value, dtype).items():
                yield from _values(f"{name}.{field}", of_field, dtypes[field])
        case pl.List(inner=pl.String()):
            yield _Values(name, "labels", value.explode(empty_as_null=False))
        case pl.List():
            yield _Values(name, "items", value.list.len())
        case pl.Boolean() | pl.Enum() | pl.Categorical():
            yield _Values(name, "labels", value.cast(pl.String), is_label=True)
        case pl.String():
            yield _Values(name, "labels", value)
        case _ if dtype.is_numeric():
            yield _Values(name, "numbers", pl.when(value.cast(pl.Float64).is_finite()).then(value))
        case _:
            return


def _stats(one: _Values) -> dict[str, pl.Expr]:
    value = one.value
    stats = {"n": value.count(), "null": value.null_count(), "distinct": value.drop_nulls().approx_n_unique()}
    return stats | ({"longest": value.str.len_chars().max()} if one.kind == "labels" else {})


def _distribution(rows: pl.LazyFrame, one: _Values, facts: Mapping[str, Any]) -> Distribution:
    value, kind = one.value, one.kind
    is_text = kind == "labels" and (facts["distinct"] > MAX_LABELS or facts["longest"] > MAX_LABEL_CHARS)
    if is_text and not one.is_label:
        kind, value = "characters", value.str.len_chars()
    values = rows.select(value.alias(VALUE)).drop_nulls()
    bars = _labels(values, facts["n"]) if kind == "labels" else _bins(values, facts["n"])
    return Distribution(one.name, kind, facts["n"], facts["null"], bars, kind != "labels")


def _labels(values: pl.LazyFrame, n_values: int) -> tuple[Bar, ...]:
    counts = values.group_by(VALUE).agg(pl.len().alias(COUNT)).collect(engine="streaming")
    shown = counts.sort([COUNT, VALUE], descending=[True, False]).head(MAX_LABELS)
    return _bars([(str(label)[:MAX_LABEL_CHARS], n) for label, n in shown.select(VALUE, COUNT).iter_rows()], n_values)


def _bins(values: pl.LazyFrame, n_values: int) -> tuple[Bar, ...]:
    """Few whole numbers each have a bar; other numbers share bins of one width. None where no width is finite."""
    low, high, is_whole = values.select(
        low=pl.col(VALUE).min(), high=pl.col(VALUE).max(), whole=(pl.col(VALUE) == pl.col(VALUE).round()).all()
    ).collect(engine="streaming").row(0)  # fmt: skip
    span = float(high) - float(low)
    if not math.isfinite(span):
        return ()
    step = 1.0 if is_whole and span < MAX_LABELS else _nice(span / N_BINS, whole=is_whole)
    first = float(low) // step
    index = (pl.col(VALUE).cast(pl.Float64) / step).floor() - first
    counts = values.select(index.cast(pl.Int64).alias(VALUE)).group_by(VALUE).len(name=COUNT)
    found = dict(counts.collect(engine="streaming").select(VALUE, COUNT).iter_rows())
    ends = [(first + i) * step for i in range(max(found) + 1)]
    labels = [f"{end:g}" if step == 1 and is_whole else f"{end:g} to {end + step:g}" for end in ends]
    return _bars([(label, found.get(i, 0)) for i, label in enumerate(labels)], n_values)


def _nice(step: float, *, whole: bool) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    least = max(step, 1.0) if whole else step
    if least <= 0:
        return 1.0
    power = 10.0 ** len(f"{int(least)}"[1:]) if least >= 1 else 1.0
    while least < power / 10 * (1 + 1e-9):
        power /= 10
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def _bars(counts: list[tuple[str, int]], n_values: int) -> tuple[Bar, ...]:
    most = max((n for _, n in counts), default=1)
    return tuple(Bar(label, n, n / n_values, n / most) for label, n in counts)
