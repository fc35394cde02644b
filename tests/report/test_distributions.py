"""Values counted for the page: whatever the column holds, the bars are those of a plain count."""

import math
from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.report.distributions import MAX_LABELS, Distribution, distributions


def of(values: list[Any], dtype: pl.DataType | type[pl.DataType] | None = None) -> list[Distribution]:
    """The distributions of one column."""
    return distributions(pl.LazyFrame({"c": pl.Series(values, dtype=dtype)}), {"c": "field"})


def counts(found: Distribution) -> dict[str, int]:
    """The bars."""
    return {bar.label: bar.n for bar in found.bars}


@given(st.lists(st.none() | st.sampled_from(["yes", "no", "", "<b>"]), min_size=1))
def test_labels(values: list[str | None]) -> None:
    """Each label with its rows, the most frequent first; nulls beside them."""
    known = Counter(value for value in values if value is not None)
    found = of(values, pl.String())
    assert [counts(one) for one in found] == ([dict(known)] if known else [])
    for one in found:
        assert (one.name, one.n_values, one.n_null) == ("field", known.total(), values.count(None))
        assert [bar.n for bar in one.bars] == sorted(known.values(), reverse=True)
        assert one.bars[0].width == 1


@given(
    st.lists(st.floats(allow_infinity=True, allow_nan=True) | st.none(), min_size=1)
    | st.lists(st.integers(-(2**62), 2**62), min_size=1)
    | st.lists(st.integers(0, 5), min_size=1)
)
def test_numbers(values: list[float | None]) -> None:
    """Every finite number is in exactly one bar, and in the one that names its range."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    dtype = pl.Int64() if all(isinstance(value, int) for value in values) else pl.Float64()
    found = of(values, dtype)
    assert sum(bar.n for one in found for bar in one.bars) == len(finite)
    assert all(len(one.bars) <= 2 * MAX_LABELS for one in found)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 2, 5], {"1": 1, "2": 2, "3": 0, "4": 0, "5": 1}),
        ([7, 7], {"7": 2}),
        ([0.5, 0.5], {"0 to 1": 2}),
        ([0, 320], {f"{i} to {i + 20}": int(i in {0, 320}) for i in range(0, 321, 20)}),
    ],
)
def test_bars_of_numbers(values: list[float], expected: dict[str, int]) -> None:
    """Few whole numbers have a bar each; the others share bins of a round width."""
    assert counts(of(values)[0]) == expected


def test_what_has_no_bars() -> None:
    """Numbers that are too far apart for any width; and whole texts are told by their length, however few they are."""
    assert of([1e308, -1e308]) == []
    (found,) = of(["x" * 121, "y"])
    assert (found.kind, sum(counts(found).values())) == ("characters", 2)


def test_other_types() -> None:
    """Long texts by length, lists of words by word, other lists by length, structs field by field."""
    texts = of([f"{'x' * i}" for i in range(1, 60)])[0]
    assert (texts.kind, texts.is_range, sum(counts(texts).values())) == ("characters", True, 59)
    assert counts(of([["a", "b"], ["b"], [], None])[0]) == {"b": 2, "a": 1}
    assert counts(of([[1, 2], [3], []])[0]) == {"0": 1, "1": 1, "2": 1}
    assert counts(of([True, None, False, True])[0]) == {"true": 2, "false": 1}
    inner = of([{"mood": "good", "deep": {"n": 1}}, {"mood": None, "deep": {"n": 3}}])
    assert {one.name: counts(one) for one in inner} == {
        "field.mood": {"good": 1},
        "field.deep.n": {"1": 1, "2": 0, "3": 1},
    }
    assert of([None, None], pl.String()) == []
    assert of([b"x"]) == []
