"""Publish the table as a Delta table: each build is one version, complete or absent."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import polars as pl

from bedrock_assets.audit import Effect, announced
from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError, StoreError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.base import Sent
from bedrock_assets.sources import located
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.parquet import ROW_GROUP_ROWS
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

REVISION = "bedrock_assets_revision"
"""Key in the metadata of a commit, for the revision of the table."""


def publish_delta(store: Store, pipeline: Pipeline, table: TableManifest) -> Sent:
    """
    Replace the Delta table at `delta:` with the joined table, unless it is there already.

    Delta has fewer types: arrays become lists, categories and enums strings, unsigned integers Int64, and times have
    microseconds.

    Raises:
        ConfigError: The extra `delta` is not installed.
        StoreError: The table cannot be written, or another one is published meanwhile; the former version stays.
    """
    uri = located(pipeline.spec.delta or "", pipeline.folder)
    options = store.s3.delta if uri.startswith("s3://") and not store.is_local else None
    try:
        import pyarrow as pa
        from deltalake import CommitProperties, DeltaTable, write_deltalake
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise ConfigError("delta: the library is not installed; pip install 'bedrock-assets[delta]'") from error
    try:
        if DeltaTable.is_deltatable(uri, options):
            current = DeltaTable(uri, storage_options=options)
            if current.history(1)[0].get(REVISION) == table.revision:
                return Sent(uri, table.n_rows, 0, n_unchanged=table.n_rows, more={"version": current.version()})
        batches = _batches(Publication(store, pipeline.spec.name, table))
        first = next(batches)
        with announced(Effect.WRITE, uri):
            write_deltalake(
                uri,
                pa.RecordBatchReader.from_batches(first.schema, chain([first], batches)),
                mode="overwrite",
                schema_mode="overwrite",
                commit_properties=CommitProperties(custom_metadata={REVISION: table.revision}),
                storage_options=options,
            )
        version = DeltaTable(uri, storage_options=options).version()
        return Sent(uri, table.n_rows, table.n_rows, more={"version": version})
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StoreError(f"the Delta table {uri} cannot be written: {error}") from error


def _batches(table: Publication) -> "Iterator[pa.RecordBatch]":
    for part in table.manifest.parts:
        for start in range(0, part.n_rows, ROW_GROUP_ROWS):
            rows = table.read(part, _slice(start))
            plain = rows.select(_plain(column(name), dtype) for name, dtype in rows.schema.items())
            yield from plain.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()


def _slice(start: int) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda rows: rows.slice(start, ROW_GROUP_ROWS)


def _plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Cast a column to a type that Delta has."""
    if isinstance(dtype, pl.Array):
        return value.arr.to_list()
    if isinstance(dtype, pl.Enum | pl.Categorical | pl.Null):
        return value.cast(pl.String)
    if dtype.is_unsigned_integer():
        return value.cast(pl.Int64)
    if isinstance(dtype, pl.Datetime):
        return value.dt.cast_time_unit("us")
    return value
