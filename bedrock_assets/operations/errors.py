"""Rows without an answer, gathered by what went wrong."""

from dataclasses import dataclass

import polars as pl

from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.keys import outputs_folder
from bedrock_assets.storage.store import Store

_VARIABLE = r'"[^"]*"|\'[^\']*\'|[0-9a-fA-F-]{16,}|\d+'
"""What differs between messages that say the same: quotations, ids, numbers."""
MESSAGE_CHARS = 160


@dataclass(frozen=True)
class ErrorGroup:
    """Rows that failed in the same way."""

    error_code: str | None
    message: str
    """With `#` for quotations, ids and numbers."""
    n_rows: int
    example: str
    """A record id."""
    example_message: str | None
    shards: list[str]


def group_errors(store: Store, pipeline: Pipeline) -> list[ErrorGroup]:
    """The rows of all shards that are not `ok`, the most frequent failure first."""
    keys = [file.key for file in store.files(outputs_folder(pipeline.spec.name)) if file.key.endswith(".parquet")]
    return _gathered(pl.concat(_failed(store, pipeline, key) for key in keys)) if keys else []


def _failed(store: Store, pipeline: Pipeline, key: str) -> pl.DataFrame:
    own = {name: pipeline.answer_columns[name] for name in ("status", "error_code", "error_message")}
    shard = key.rpartition("/")[2].removesuffix(".parquet")
    rows = store.scan_parquet([key]).select(pl.col(pipeline.record_id).alias("record_id"), **own)
    return rows.filter(pl.col("status").cast(pl.String) != "ok").with_columns(shard=pl.lit(shard)).collect()


def _gathered(rows: pl.DataFrame) -> list[ErrorGroup]:
    alike = pl.col("error_message").fill_null("").str.replace_all(_VARIABLE, "#").str.head(MESSAGE_CHARS)
    found = (
        rows.with_columns(alike=alike)
        .group_by("error_code", "alike", maintain_order=True)
        .agg(
            n_rows=pl.len(),
            example=pl.col("record_id").first(),
            example_message=pl.col("error_message").first(),
            shards=pl.col("shard").unique(maintain_order=True),
        )
        .sort("n_rows", descending=True, maintain_order=True)
    )
    renamed = found.rename({"alike": "message"})
    return [ErrorGroup(**row) for row in renamed.iter_rows(named=True)]
