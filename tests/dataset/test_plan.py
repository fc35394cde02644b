"""Shards: quotas first, then whole waves."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.dataset.plan import Block, plan_shards
from bedrock_assets.errors import DataError, EmptyDataset, TooFewRecords
from bedrock_assets.limits import JobLimits, OnSmall
from bedrock_assets.storage.manifests import Shard

UNBOUND = 10**12


def limits(most: int, least: int = 1, n_bytes: int = UNBOUND, slots: int = 1) -> JobLimits:
    """Limits with everything named."""
    return JobLimits(max_records_per_job=most, min_records_per_job=least, max_bytes_per_file=n_bytes, max_jobs=slots)


def uniform(n_rows: int, row_bytes: int = 0, size: int = 64) -> list[Block]:
    """Blocks of equal rows, all of which make a record."""
    sizes = [size] * (n_rows // size) + [n_rows % size] * (n_rows % size > 0)
    return [Block(n, n, n * row_bytes) for n in sizes]


def assert_covers(shards: tuple[Shard, ...], n_rows: int) -> None:
    """Contiguous, in order, no gap, no overlap, sizes within one row of each other, keys that tell the count."""
    assert shards[0].offset == 0
    assert all(a.offset + a.n_rows == b.offset for a, b in pairwise(shards))
    assert shards[-1].offset + shards[-1].n_rows == n_rows
    sizes = [shard.n_rows for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    assert [shard.key for shard in shards] == [f"{i:05d}-of-{len(shards):05d}" for i in range(len(shards))]


@given(n_rows=st.integers(1, 5_000), most=st.integers(1, 900), least=st.integers(1, 900), slots=st.integers(1, 30))
def test_shards_hold_the_quotas(n_rows: int, most: int, least: int, slots: int) -> None:
    """Whatever the counts, shards cover the rows within both bounds, or no cut into equal shards could."""
    least = min(least, most)
    try:
        shards = plan_shards(uniform(n_rows), limits(most, least, slots=slots))
    except DataError:
        fewest = -(-n_rows // most)
        assert n_rows // fewest < least, "the fewest shards that hold the maximum would have held the minimum"
    else:
        assert_covers(shards, n_rows)
        assert all(least <= shard.n_rows <= most for shard in shards)


blocks = st.lists(
    st.builds(
        lambda n, sendable, size: Block(n, min(n, sendable), min(n, sendable) * size),
        st.integers(1, 64),
        st.integers(0, 64),
        st.integers(1, 500),
    ),
    min_size=1,
    max_size=40,
)


@given(blocks=blocks, least=st.integers(1, 80), n_bytes=st.integers(40_000, 200_000), slots=st.integers(1, 8))
def test_shards_hold_bytes_and_records(blocks: list[Block], least: int, n_bytes: int, slots: int) -> None:
    """Wherever in its block a row's bytes and a missing record may be, a shard is within bytes and minimum."""
    n_rows = sum(block.n_rows for block in blocks)
    try:
        shards = plan_shards(blocks, limits(1_000, least, n_bytes, slots))
    except DataError:
        return
    assert_covers(shards, n_rows)
    starts = [0, *accumulate(block.n_rows for block in blocks)]
    for shard in shards:
        stop = shard.offset + shard.n_rows
        touched = [
            (block, max(0, shard.offset - start) + max(0, start + block.n_rows - stop))
            for block, start in zip(blocks, starts, strict=False)
            if start < stop and start + block.n_rows > shard.offset
        ]
        assert sum(block.n_bytes for block, _ in touched) <= n_bytes
        assert sum(max(0, block.n_sendable - n_outside) for block, n_outside in touched) >= least


@given(n_rows=st.integers(1, 5_000), size=st.integers(1, 200), slots=st.integers(1, 8))
def test_planning_repeats(n_rows: int, size: int, slots: int) -> None:
    """The same rows give the same shards, however they were counted."""
    bounds = limits(100, slots=slots)
    assert plan_shards(uniform(n_rows), bounds) == plan_shards(uniform(n_rows, size=size), bounds)


def test_waves_are_whole() -> None:
    """2.2 million rows on 20 slots are 60 equal shards in 3 full waves, not 44 with a last wave of 4."""
    shards = plan_shards([Block(2_200_000, 2_200_000, 0)], limits(50_000, 100, slots=20))
    assert len(shards) == 60
    assert_covers(shards, 2_200_000)


def test_waves_are_not_filled_below_the_minimum() -> None:
    """Where shards of a full wave would be under the minimum, the fewest shards are taken."""
    assert len(plan_shards(uniform(150), limits(100, 60, slots=20))) == 2


def test_waves_are_not_filled_at_a_loss() -> None:
    """One shard stays one shard where splitting it over the slots would save less than a job costs."""
    assert len(plan_shards(uniform(100), limits(100, slots=1))) == 1
    assert len(plan_shards(uniform(3), limits(50_000, slots=20))) == 1


def test_the_last_shard_is_no_leftover() -> None:
    """One row more than a full shard makes two halves, not a full shard and one of a single row."""
    assert [shard.n_rows for shard in plan_shards(uniform(1_001), limits(1_000, 100))] == [500, 501]


def test_bytes_split_what_records_would_not() -> None:
    """Rows of 1,000 bytes under a bound of 100,000 bytes make shards of at most 100 rows."""
    shards = plan_shards(uniform(1_000, row_bytes=1_000), limits(50_000, n_bytes=100_000))
    assert_covers(shards, 1_000)
    assert max(shard.n_rows for shard in shards) <= 100


def test_no_rows() -> None:
    """A dataset without rows is refused as such."""
    with pytest.raises(EmptyDataset, match="no rows"):
        plan_shards([], limits(10))


def test_too_few_records() -> None:
    """Below the minimum the message names both counts and the ways out; `pad` lets it pass."""
    small = [Block(99, 98, 0)]
    with pytest.raises(TooFewRecords, match=r"98 of 99 rows .* fewer than 100; .*on_small: on_demand"):
        plan_shards(small, limits(50_000, 100))
    assert len(plan_shards(small, limits(50_000, 100), on_small="pad")) == 1
    assert len(plan_shards(small, limits(50_000, 100), on_small="on_demand")) == 1


@pytest.mark.parametrize("on_small", ["pad", "on_demand"])
def test_small_shards_are_planned_only_where_they_must(on_small: OnSmall) -> None:
    """What may be padded or answered on demand is still cut into whole jobs where that is possible."""
    blocks = [Block(64, 64, 0)] * 5
    assert len(plan_shards(blocks, JobLimits(min_records_per_job=100, max_jobs=20), on_small=on_small)) == 1


def test_nothing_to_pad_with() -> None:
    """Rows of which not one makes a record cannot be padded, and are refused before anything is written."""
    with pytest.raises(TooFewRecords, match="none of 5 rows makes a record"):
        plan_shards([Block(5, 0, 0)], limits(10), on_small="pad")


def test_a_shard_without_any_record_is_not_planned() -> None:
    """Padding repeats a shard's own records, so a cut with a shard that has none is refused."""
    with pytest.raises(DataError, match="no cut of 128 rows"):
        plan_shards([Block(64, 64, 0), Block(64, 0, 0)], limits(64, 10), on_small="pad")


def test_no_cut_fits() -> None:
    """Where minimum and maximum exclude each other for this number of rows, the message names both."""
    with pytest.raises(DataError, match=r"no cut of 110 rows .*min_records_per_job=60 and max_records_per_job=100"):
        plan_shards(uniform(110), limits(100, 60))


def test_the_minimum_is_under_the_maximum() -> None:
    """Limits that no job could satisfy are refused where they are written."""
    with pytest.raises(ValueError, match="no job could satisfy both"):
        limits(10, 11)
