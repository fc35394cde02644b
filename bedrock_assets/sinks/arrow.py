"""Frames as Arrow has them, one after the other."""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa


def as_reader(frames: Iterator[pl.DataFrame], schema: pl.Schema) -> "pa.RecordBatchReader":
    """A stream of record batches; it is read once."""
    import pyarrow as pa

    empty = pl.DataFrame(schema=schema)
    batches = (batch for frame in chain([empty], frames) for batch in to_arrow(frame).to_batches())
    return pa.RecordBatchReader.from_batches(to_arrow(empty).schema, batches)


def to_arrow(frame: pl.DataFrame) -> "pa.Table":
    """A frame without types that only polars has."""
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())


def polars_schema(schema: "pa.Schema") -> pl.Schema:
    """The types that polars gives the columns of a table."""
    return pl.DataFrame(schema.empty_table()).schema
