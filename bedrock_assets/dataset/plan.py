"""Cut rows into shards, from counts alone: nothing is read or written here."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from bedrock_assets.config.pipeline import CanarySpec
from bedrock_assets.errors import DataError, EmptyDataset, TooFewRecords
from bedrock_assets.limits import JobLimits, OnSmall
from bedrock_assets.storage.keys import shard_key
from bedrock_assets.storage.manifests import Shard

JOB_FLOOR_S = 300
"""Seconds that every job takes, whatever its size. Source: field reports, 2026."""
RECORD_S = 0.65
"""Seconds that each record adds. Source: a published run of 2.2 million rows, 9 hours for a job of 49,000 records."""


@dataclass(frozen=True)
class Block:
    """Counts of some consecutive rows. To the planner, a dataset is a sequence of blocks."""

    n_rows: int
    n_sendable: int
    n_bytes: int
    """Size of their JSONL records."""


def plan_shards(blocks: Sequence[Block], limits: JobLimits, *, on_small: OnSmall = "error") -> tuple[Shard, ...]:
    """
    Cut rows into shards that every quota accepts and that fill whole waves of `limits.max_jobs` jobs.

    Args:
        blocks: Counts of consecutive rows that cover the dataset.
        on_small: What happens to a shard with fewer records than the minimum. With `error` none is planned;
            otherwise only if no other cut works.

    Returns:
        Contiguous shards in order, whose sizes differ by one row at most.

    Raises:
        EmptyDataset: There are no rows.
        TooFewRecords: The dataset has fewer records than one job needs.
        DataError: No cut keeps every shard within all limits.

    Source: quotas of batch inference, AWS user guide, 2026-11.
    """
    n_rows = sum(block.n_rows for block in blocks)
    if n_rows == 0:
        raise EmptyDataset("the dataset has no rows, so there is nothing to send")
    n_sendable = sum(block.n_sendable for block in blocks)
    if n_sendable == 0:
        raise TooFewRecords(
            f"none of {n_rows} rows makes a record, so there is nothing to send; `bedrock-assets sample` shows the "
            "reason of each row"
        )
    if n_sendable < (limits.min_records_per_job if on_small == "error" else 1):
        raise TooFewRecords(
            f"{n_sendable} of {n_rows} rows make a record, but Bedrock fails a job with fewer than "
            f"{limits.min_records_per_job}; add rows, set `on_small: on_demand`, or lower "
            "limits.min_records_per_job if your account's quota is lower"
        )
    counts = _Counts(blocks)
    fewest = _fewest(counts, limits, n_rows)
    full_waves = -(-fewest // limits.max_jobs) * limits.max_jobs
    candidates = [n for n in (full_waves, fewest) if counts.fits(n, limits, "error")]
    if not candidates and counts.fits(fewest, limits, on_small):
        candidates = [fewest]
    if not candidates:
        raise DataError(
            f"no cut of {n_rows} rows into shards keeps each between limits.min_records_per_job="
            f"{limits.min_records_per_job} and max_records_per_job={limits.max_records_per_job} records and under "
            f"{limits.max_bytes_per_file} bytes: too many rows without a record follow each other. "
            "Leave those rows out, set `on_small: on_demand`, or raise the limits to your account's quotas."
        )
    best = min(candidates, key=lambda n: (_makespan_s(n_rows, n, limits.max_jobs), n))
    return _shards([stop - start for start, stop in _bounds(n_rows, best)])


def plan_with_canary(
    blocks: Sequence[Block], limits: JobLimits, on_small: OnSmall, canary: CanarySpec | None
) -> tuple[Shard, ...]:
    """
    Plan a first shard of about `canary.rows` rows, in whole blocks, and the rest with `plan_shards`.

    Raises:
        TooFewRecords: The canary has too few records for a job, and `on_small` is `error`.
        DataError: As `plan_shards`.
    """
    n_blocks = _n_blocks(blocks, canary.rows) if canary else 0
    if canary is None or n_blocks == len(blocks):
        return plan_shards(blocks, limits, on_small=on_small)
    first = blocks[:n_blocks]
    n_first, n_sendable = sum(block.n_rows for block in first), sum(block.n_sendable for block in first)
    if on_small == "error" and n_sendable < limits.min_records_per_job:
        raise TooFewRecords(
            f"canary.rows: the first {n_first} rows make {n_sendable} records, but Bedrock fails a job with fewer than "
            f"{limits.min_records_per_job}; raise canary.rows, or set `on_small: on_demand`"
        )
    rest = plan_shards(blocks[n_blocks:], limits, on_small=on_small)
    return _shards([n_first, *(shard.n_rows for shard in rest)])


def _shards(sizes: Sequence[int]) -> tuple[Shard, ...]:
    offsets = accumulate(sizes, initial=0)
    return tuple(
        Shard(key=shard_key(i, len(sizes)), offset=offset, n_rows=n_rows)
        for i, (offset, n_rows) in enumerate(zip(offsets, sizes, strict=False))
    )


class _Counts:
    """Sums over any range of rows: exact at the borders of blocks, and on the safe side in between."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._starts = [0, *accumulate(block.n_rows for block in blocks)]
        self._sendable = [0, *accumulate(block.n_sendable for block in blocks)]
        self._bytes = [0, *accumulate(block.n_bytes for block in blocks)]
        self.n_rows = self._starts[-1]

    def fits(self, n_shards: int, limits: JobLimits, on_small: OnSmall) -> bool:
        """Whether each of *n_shards* equal shards is small enough and has the records that *on_small* requires."""
        return n_shards <= self.n_rows and all(
            self.most_bytes(a, b) <= limits.max_bytes_per_file and self._enough(a, b, limits, on_small)
            for a, b in _bounds(self.n_rows, n_shards)
        )

    def _enough(self, start: int, stop: int, limits: JobLimits, on_small: OnSmall) -> bool:
        if on_small == "error":
            return self.least_sendable(start, stop) >= limits.min_records_per_job
        return on_small in ("on_demand", "flex") or self._most(self._sendable, start, stop) > 0

    def most_bytes(self, start: int, stop: int) -> int:
        """Upper bound of the bytes of rows *start* to *stop*."""
        return self._most(self._bytes, start, stop)

    def least_sendable(self, start: int, stop: int) -> int:
        """Lower bound of the records of rows *start* to *stop*."""
        first, end = self._blocks_of(start, stop)
        outside = (start - self._starts[first]) + (self._starts[end] - stop)
        return max(0, self._most(self._sendable, start, stop) - outside)

    def _most(self, sums: Sequence[int], start: int, stop: int) -> int:
        first, end = self._blocks_of(start, stop)
        return sums[end] - sums[first]

    def _blocks_of(self, start: int, stop: int) -> tuple[int, int]:
        """The range of blocks that rows *start* to *stop* are in."""
        return bisect_right(self._starts, start) - 1, bisect_right(self._starts, stop - 1)


def _fewest(counts: _Counts, limits: JobLimits, n_rows: int) -> int:
    fewest = -(-n_rows // limits.max_records_per_job)
    while fewest < n_rows and any(
        counts.most_bytes(a, b) > limits.max_bytes_per_file for a, b in _bounds(n_rows, fewest)
    ):
        fewest += max(1, fewest // 16)
    return fewest


def _makespan_s(n_rows: int, n_shards: int, slots: int) -> float:
    return -(-n_shards // slots) * (JOB_FLOOR_S + RECORD_S * n_rows / n_shards)


def _bounds(n_rows: int, n_shards: int) -> list[tuple[int, int]]:
    cuts = [n_rows * i // n_shards for i in range(n_shards + 1)]
    return list(pairwise(cuts))


def _n_blocks(blocks: Sequence[Block], n_rows: int) -> int:
    """Number of first blocks that have at least *n_rows* rows together; all of them if they have fewer."""
    return min(len(blocks), bisect_left([*accumulate(block.n_rows for block in blocks)], n_rows) + 1)
