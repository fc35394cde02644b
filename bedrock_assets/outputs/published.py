"""
Reads the published answers of a shard under the names that the pipeline has now.

They were written with the `output_prefix` of their time. It changes no answer, so after an edit they are read on.
"""

from collections.abc import Callable

import polars as pl

from bedrock_assets.pipeline.ids import RECORD_ID
from bedrock_assets.storage.store import Store


def read_outputs(
    store: Store, key: str, prefix: str, query: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda rows: rows
) -> pl.DataFrame:
    """
    The answers of a shard.

    Args:
        key: As `outputs_key` gives it.
        prefix: The pipeline's `output_prefix`.
        query: What to read, by the present names; by default everything.

    Raises:
        BrokenFile: The file is cut or damaged.
        StoreError: There is no such file.
    """
    return store.read_parquet(key, lambda rows: query(renamed(rows, prefix)))


def renamed(rows: pl.LazyFrame, prefix: str) -> pl.LazyFrame:
    """Columns of a pipeline's outputs with *prefix* before their names, whatever it was when they were written."""
    names = rows.collect_schema().names()
    former = names[0].removesuffix(RECORD_ID)  # the id is the first
    if former == prefix:
        return rows
    return rows.rename({name: prefix + name.removeprefix(former) for name in names if name.startswith(former)})
