"""Preview a pipeline before anything is written: rows, shards, bytes, the first record."""

from typing import Any

import polars as pl

from bedrock_assets.dataset.ingest import count_blocks, read_rows
from bedrock_assets.dataset.plan import plan_with_canary
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import LINE
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

_LOOKED_AT = 100
"""Rows among which the first prompt is looked for."""


def preview(pipeline: Pipeline, store: Store | None = None) -> dict[str, Any]:
    """
    Count rows, shards and bytes in one pass over the source, and return the first record.

    Args:
        store: Holds the table of another pipeline, if the source is one.

    Raises:
        ConfigError: The source cannot be read.
        DataError: The rows cannot be cut into shards.
    """
    first, blocks = None, []
    for rows in map_ordered(pipeline.records.make, read_rows(pipeline, store)):
        lines = rows[LINE].drop_nulls()
        first = lines[0] if first is None and len(lines) else first
        blocks += count_blocks(rows)
    shards = plan_with_canary(blocks, pipeline.spec.limits, pipeline.spec.on_small, pipeline.spec.canary)
    sizes = pl.Series([shard.n_rows for shard in shards])
    return {
        "pipeline": pipeline.spec.name,
        "source": pipeline.source.describe(),
        "model": pipeline.spec.model,
        "rows": sum(block.n_rows for block in blocks),
        "records": sum(block.n_sendable for block in blocks),
        "bytes": sum(block.n_bytes for block in blocks),
        "shards": len(shards),
        "rows_per_shard": f"{sizes.min()} to {sizes.max()}",
        "waves": -(-len(shards) // pipeline.spec.limits.max_jobs),
        "first_record": first,
        "first_prompt": _first_prompt(pipeline, store),
        "warnings": pipeline.notices,
    }


def _first_prompt(pipeline: Pipeline, store: Store | None) -> str | None:
    """The text of the first row that has one."""
    rows = next(read_rows(pipeline, store), None)
    texts = None if rows is None else pipeline.records.texts(rows.head(_LOOKED_AT)).drop_nulls()
    return None if texts is None or texts.is_empty() else texts[0]
