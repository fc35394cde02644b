"""Group the rows without an answer by what went wrong."""

from dataclasses import dataclass

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.keys import outputs_folder
from bedrock_assets.storage.store import Store

_VARIABLE = r'"[^"]*"|\'[^\']*\'|[0-9a-fA-F-]{16,}|\d+'
"""Matches what varies between similar messages: quotations, ids, numbers."""
MESSAGE_CHARS = 160


@dataclass(frozen=True)
class ErrorGroup:
    """Rows that failed for the same reason."""

    error_code: str | None
    message: str
    """Message with `#` in place of quotations, ids and numbers."""
    n_rows: int
    example: str
    """Record id of the first row."""
    example_message: str | None
    shards: list[str]


def group_errors(store: Store, pipeline: Pipeline) -> list[ErrorGroup]:
    """Group the rows of all shards that are not `ok`; the most frequent failure comes first."""
    keys = [file.key for file in store.files(outputs_folder(pipeline.spec.name)) if file.key.endswith(".parquet")]
    return _groups(pl.concat(_failed(store, pipeline, key) for key in keys)) if keys else []


def _failed(store: Store, pipeline: Pipeline, key: str) -> pl.DataFrame:
    own = {name: pipeline.answer_columns[name] for name in ("status", "error_code", "error_message")}
    shard = key.rpartition("/")[2].removesuffix(".parquet")
    rows = store.read_parquet(key, lambda rows: rows.select(column(pipeline.record_id).alias("record_id"), **own))
    return rows.filter(pl.col("status").cast(pl.String) != "ok").with_columns(shard=pl.lit(shard))


def _groups(rows: pl.DataFrame) -> list[ErrorGroup]:
    pattern = pl.col("error_message").fill_null("").str.replace_all(_VARIABLE, "#").str.head(MESSAGE_CHARS)
    groups = (
        rows.group_by("error_code", pattern.alias("message"), maintain_order=True)
        .agg(
            n_rows=pl.len(),
            example=pl.col("record_id").first(),
            example_message=pl.col("error_message").first(),
            shards=pl.col("shard").unique(maintain_order=True),
        )
        .sort("n_rows", descending=True, maintain_order=True)
    )
    return [ErrorGroup(**row) for row in groups.iter_rows(named=True)]
