"""What became of rows, what it cost and how long it took: in words for people, and as numbers for plots."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bedrock_assets.aws.job import Job
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.ledger import Entry, RequestState
from bedrock_assets.prices import NO_PRICE, NO_TOKENS, Tokens, price_of, total_of, usd
from bedrock_assets.units import counted, rounded, significant

Facts = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of rows."""

    n_ok: int
    n_error: int
    n_missing: int
    n_truncated: int

    def __str__(self) -> str:
        told = f"{counted(self._n_rows, 'row')}: {self.n_ok:,} answered, {counted(self.n_error, 'error')}, "
        cut = f"{self.n_truncated:,}" if self.n_truncated else "none"
        return f"{told}{self.n_missing:,} missing; {cut} cut off by the token limit"

    @property
    def _n_rows(self) -> int:
        return self.n_ok + self.n_error + self.n_missing

    @property
    def numbers(self) -> Facts:
        """For plots; answers that were cut off only where there are some, as the words say so anyway."""
        facts: Facts = {"n_ok": self.n_ok, "n_error": self.n_error, "n_missing": self.n_missing}
        rate = significant(1 - self.n_ok / max(1, self._n_rows))
        return facts | {"error_rate": rate} | not_zero({"n_truncated": self.n_truncated})


def cost_in_words(costs: Facts, estimated_usd: float | None) -> str:
    """What was paid, and what was expected."""
    return costs["cost"] + (f" (of this launch at most {usd(estimated_usd)} was expected)" if estimated_usd else "")


def not_zero(numbers: Mapping[str, float]) -> Facts:
    """Counts of what is rare: a plot of zeros says nothing."""
    return {name: number for name, number in numbers.items() if number}


def open_with(path: str) -> str:
    """A line of Python that opens a table; every engine reads the same files."""
    return f'import polars as pl; rows = pl.read_parquet("{path}")'


def token_counts(tokens: Tokens, n_records: int | None = None) -> Facts:
    """
    The counts that are known, as numbers.

    Args:
        n_records: Records that were paid for, for the mean.
    """
    total = total_of(tokens)
    known = {"input_tokens": total.n_input, "output_tokens": total.n_output}
    facts: Facts = {name: n for name, n in known.items() if n is not None}
    facts |= not_zero({"cache_read_tokens": total.n_cache_read, "cache_write_tokens": total.n_cache_written})
    if n_records is None or total.n_input is None or total.n_output is None:
        return facts
    return facts | {"tokens_per_record": significant((total.n_input + total.n_output) / max(1, n_records))}


def tokens_in_words(tokens: Tokens) -> str:
    """Tokens that were paid for, or that nobody tells them."""
    total = total_of(tokens)
    if total.n_input is None or total.n_output is None:
        return NO_TOKENS
    cached = f", {rounded(total.n_cache_read)} of them from a cache" if total.n_cache_read else ""
    return f"{rounded(total.n_input)} in{cached}, {rounded(total.n_output)} out"


def costs(spec: WorkloadSpec, tokens: Tokens) -> Facts:
    """The price of the tokens; where the records tell theirs, padding copies and answers that broke off tell none."""
    price = price_of(spec)
    cost_usd = price.cost_usd(tokens) if price else None
    if price is None or cost_usd is None:
        return {"cost": NO_TOKENS if price else NO_PRICE}
    return {"cost": usd(cost_usd), "cost_usd": significant(cost_usd), "price_source": price.source}


def times(job: Job, entry: Entry) -> dict[str, float]:
    """`queue_s`: from the request to its submission, here; `run_s`: from then to the job's end, at Bedrock."""
    times: dict[str, float] = {}
    if entry.state is RequestState.SUBMITTED:
        times["queue_s"] = round(max(0.0, entry.at - entry.request.requested_at), 1)
    if job.ended_at:
        times["run_s"] = round((job.ended_at - job.submitted_at).total_seconds(), 1)
    return times


def pace(entry: Entry, run_s: float) -> float:
    """Records per minute of a job."""
    return significant(entry.request.n_records * 60 / max(1.0, run_s))
