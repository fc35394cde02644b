"""
`manifest.json.out`, which Bedrock writes beside a job's output: its counts are held against ours, and where the records
do not tell their tokens, it has their sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from pydantic import Field

from bedrock_assets.columns import column, columns
from bedrock_assets.outputs.outcomes import IS_ANSWERED
from bedrock_assets.storage.manifests import Document, InferenceMode, TokenCount

_COLUMNS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


class JobManifest(Document):
    """The manifest as Bedrock writes it; unknown keys are ignored."""

    total_record_count: int | None = Field(default=None, alias="totalRecordCount")
    success_record_count: int | None = Field(default=None, alias="successRecordCount")
    error_record_count: int | None = Field(default=None, alias="errorRecordCount")
    input_token_count: int | None = Field(default=None, alias="inputTokenCount")
    output_token_count: int | None = Field(default=None, alias="outputTokenCount")
    cache_read_count: int | None = Field(default=None, alias="cacheReadInputTokenCount")
    cache_write_count: int | None = Field(default=None, alias="cacheWriteInputTokenCount")

    def tokens(self, share: float = 1.0) -> TokenCount:
        """The tokens of a *share* of the job, 0 to 1; those of a cache are among the input tokens."""
        read, written = round(share * (self.cache_read_count or 0)), round(share * (self.cache_write_count or 0))
        n_input, n_output = self.input_token_count, self.output_token_count
        return TokenCount(
            None if n_input is None else round(share * n_input) + read + written,
            None if n_output is None else round(share * n_output),
            read,
            written,
        )


@dataclass(frozen=True)
class AttemptRead:
    """What was read of one attempt."""

    n_lines: int
    n_answered: int
    """Lines with an output of the model."""
    manifest: JobManifest | None = None
    """None on demand, or without a readable one."""
    share: float = 1.0
    """Share of the records that are the shard's own, 0 to 1."""

    @property
    def difference(self) -> str:
        """How the manifest's counts differ from ours, for people; empty if they do not."""
        if self.manifest is None:
            return ""
        counts = (
            ("records", self.manifest.total_record_count, "lines", self.n_lines),
            ("successes", self.manifest.success_record_count, "answers", self.n_answered),
        )
        told = [
            f"{n:,} {what} but the output has {own:,} {ours}" for what, n, ours, own in counts if n not in (None, own)
        ]
        return f"manifest.json.out counts {', and '.join(told)}" if told else ""


def paid_tokens(rows: pl.DataFrame, first: str, attempts: Mapping[int, AttemptRead]) -> dict[str, TokenCount]:
    """
    The tokens that were paid for, as `prices.Tokens`.

    They are those that the records tell. If one record of an attempt does not, they are those of the job's manifest,
    and if it does not tell either, they are unknown.

    Args:
        rows: answer_source, model_id, status and error_code String, attempt, input_tokens, output_tokens,
            cache_read_tokens and cache_write_tokens Int64.
        first: The first model of the pipeline.
    """
    others = pl.when(pl.col("model_id") != first).then(pl.col("model_id"))
    key = pl.concat_str("answer_source", others, separator=" ", ignore_nulls=True).alias("key")
    paid = rows.filter(pl.col("answer_source").is_in(list(InferenceMode)))
    told = [(column(name).is_not_null() | ~IS_ANSWERED).all().alias(f"{name}_told") for name in _COLUMNS[:2]]
    sums = paid.group_by(key, "attempt").agg(columns(_COLUMNS).sum(), *told).sort("key", "attempt")
    total: dict[str, TokenCount] = {}
    for mode, attempt, n_input, n_output, n_read, n_written, knows_input, knows_output in sums.iter_rows():
        count = TokenCount(n_input, n_output, n_read, n_written)
        if not (knows_input and knows_output):
            read = attempts.get(attempt)
            job = read.manifest.tokens(read.share) if read and read.manifest else TokenCount(None, None)
            count = job if not knows_input else count
            count = count._replace(n_output=n_output if knows_output else job.n_output)
        total[mode] = total[mode] + count if mode in total else count
    return total
