"""Answers are given back in any order that is asked for."""

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.outputs.buffers import SeriesBuffer, VectorBuffer

VECTOR = pl.Array(pl.Float32, 2)


@given(pieces=st.lists(st.integers(0, 4), min_size=1, max_size=5), chance=st.randoms())
def test_vectors_come_in_the_asked_order(pieces: list[int], chance: random.Random) -> None:
    """Vectors read in pieces, asked for in another order and with gaps: as polars' own gather gives them."""
    vectors, plain, n = VectorBuffer(2), SeriesBuffer(), 0
    for size in pieces:
        series = pl.Series("v", [[float(n + i), -1.0] for i in range(size)], dtype=VECTOR)
        vectors.add(series)
        plain.add(series)
        n += size
    regions = [*range(n), None, None]
    chance.shuffle(regions)
    wanted = pl.Series(regions, dtype=pl.Int64)
    assert vectors.n == plain.n == n
    assert vectors.gather(wanted).to_list() == plain.gather(wanted).to_list()


@pytest.mark.parametrize("n_places", [0, 3])
def test_nothing_was_read(n_places: int) -> None:
    """Without one vector every row's is null, and the dtype is the same."""
    taken = VectorBuffer(2).gather(pl.Series([None] * n_places, dtype=pl.Int64))
    assert (taken.dtype, taken.to_list()) == (VECTOR, [None] * n_places)
