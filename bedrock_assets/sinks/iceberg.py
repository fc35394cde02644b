"""
The table in an Iceberg catalog: each change is one commit, which a reader sees as a whole.

What is replaced or gone is deleted, and what is new or changed appended, in one transaction. pyiceberg's own `upsert`
takes the new rows as one table in memory and deletes nothing. A null list of structs comes out as an empty one,
as pyiceberg writes it so (apache/iceberg-python#3833).
"""

import importlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.datatypes import DataTypeClass
from typing_extensions import override

from bedrock_assets.audit import Effect, announced
from bedrock_assets.columns import column
from bedrock_assets.config.sinks import IcebergSinkSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, StoreError, first_line
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.arrow import as_reader, polars_schema, to_arrow
from bedrock_assets.sinks.base import ChangedMeanwhile, Sent, Target, named, send, turn, until_unchanged
from bedrock_assets.sinks.changes import Changes
from bedrock_assets.sinks.rows import MARK, SinkRows, require_fit
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.publish_lock import PublishLock
from bedrock_assets.storage.store import Store

if TYPE_CHECKING:
    from pyiceberg.table import Table

REVISION = "bedrock_assets_revision"
"""Property of a snapshot, for the revision of the table."""
MAX_IDS = 100_000
"""Rows to delete by their ids; above that all rows of the pipeline are replaced."""
FILE_BYTES = 64 * 1024 * 1024
"""Of the data files of a table that is made here: a delete holds one of them in memory."""


def publish_iceberg(store: Store, pipeline: Pipeline, table: TableManifest) -> Sent:
    """
    Make the table under `sinks.iceberg` equal to the joined table.

    Raises:
        ConfigError: The extra is not installed, or the catalog cannot be opened.
        DataError: An id repeats there, or is another pipeline's.
        StoreConflict: Another run of this sink has begun meanwhile, or others keep changing the table.
        StoreError: The table there does not fit, or cannot be written; it stays as it was.
    """
    spec = named(pipeline.spec.sinks.iceberg, "sinks.iceberg")
    rows, where = SinkRows.of(store, pipeline, table, spec.columns), f"sinks.iceberg: table {spec.table}"
    lock = turn(store, pipeline, "iceberg_table")

    def attempt() -> Sent:
        target = IcebergTable(spec, rows, where, lock)
        if target.has_all:
            n_rows = table.n_rows
            return Sent(target.address, n_rows, 0, n_unchanged=n_rows, more={"snapshot_id": target.snapshot_id})
        sent = send(target, rows)
        return Sent(sent.address, *sent.counts, more={"snapshot_id": target.snapshot_id})

    with _explained(where, spec.catalog):
        return until_unchanged(attempt)


@contextmanager
def _explained(where: str, catalog: str) -> Generator[None]:
    try:
        yield
    except BedrockAssetsError:
        raise
    except Exception as error:  # catalogs and file systems are of many kinds, each with errors of its own
        raise StoreError(
            f"{where} of catalog {catalog!r} cannot be written: {first_line(error)}. Nothing was changed"
        ) from error


class IcebergTable(Target):
    """A table of a catalog."""

    def __init__(self, spec: IcebergSinkSpec, rows: SinkRows, where: str, lock: PublishLock) -> None:
        self._rows, self._where, self._lock = rows, where, lock
        self._schema = pl.Schema({name: _iceberg_dtype(dtype) for name, dtype in rows.schema.items()})
        self._is_new = False
        self._table = self._opened(spec)
        # pyiceberg would commit what was compared with one snapshot on top of another. The property stays in memory.
        self._table.metadata.properties["commit.retry.num-retries"] = "0"

    @property
    @override
    def address(self) -> str:
        return self._table.location()

    @property
    def has_all(self) -> bool:
        """Whether the newest snapshot is of the rows' revision, and has as many rows: no copies, nobody else's."""
        snapshot = self._table.current_snapshot()
        told = (snapshot.summary or {}) if snapshot else {}
        n_rows = str(self._rows.publication.manifest.n_rows)
        return (told.get(REVISION), told.get("total-records")) == (self._rows.revision, n_rows)

    @property
    def snapshot_id(self) -> str:
        """The newest snapshot, as text, because it is no figure."""
        snapshot = self._table.current_snapshot()
        return str(snapshot.snapshot_id) if snapshot else ""

    @override
    def marks(self) -> Iterator[pl.DataFrame]:
        chosen = (self._rows.key, MARK)
        for batch in self._table.scan(selected_fields=chosen).to_arrow_batch_reader():
            yield pl.DataFrame(batch).select(column(self._rows.key).alias("id"), MARK)

    @override
    def write(self, changes: Changes) -> None:
        expressions: Any = importlib.import_module("pyiceberg.expressions")  # whose classes pyright takes for empty

        n_outdated = changes.n_changed + changes.n_gone
        replaces_all = n_outdated > MAX_IDS and not changes.n_adopted
        frames = changes.all_frames() if replaces_all else changes.frames()
        told = {REVISION: self._rows.revision}
        with announced(Effect.WRITE, self.address), self._unchanged(), self._table.transaction() as transaction:
            if replaces_all:
                transaction.delete(expressions.StartsWith(MARK, self._rows.owner), snapshot_properties=told)
            elif n_outdated:
                ids = pl.concat(list(changes.outdated())).to_list()
                transaction.delete(expressions.In(self._rows.key, ids), snapshot_properties=told)
            if replaces_all or changes.n_written:
                listed = (rows.cast(self._schema) for rows in frames)
                transaction.append(as_reader(listed, self._schema), snapshot_properties=told)
            self._lock.hold()

    @override
    def forget(self) -> None:
        self._lock.hold()  # the table is that of another run, if there is one
        if self._is_new and self._table.refresh().current_snapshot() is None:
            self._table.catalog.purge_table(self._table.name())

    @contextmanager
    def _unchanged(self) -> Generator[None]:
        from pyiceberg.exceptions import CommitFailedException

        try:
            yield
        except CommitFailedException as error:
            raise ChangedMeanwhile(self._where) from error

    def _opened(self, spec: IcebergSinkSpec) -> "Table":
        try:
            from pyiceberg.catalog import load_catalog
            from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
        except ImportError as error:
            raise ConfigError("sinks.iceberg needs an extra: pip install 'bedrock-assets[iceberg]'") from error
        catalog = load_catalog(spec.catalog, **spec.properties)
        try:
            table = catalog.load_table(spec.table)
        except NoSuchTableError:
            catalog.create_namespace_if_not_exists(spec.table.rpartition(".")[0])
            size = {"write.target-file-size-bytes": str(FILE_BYTES)}
            self._is_new = True
            empty = to_arrow(pl.DataFrame(schema=self._schema))
            try:
                return catalog.create_table(spec.table, empty.schema, properties=size)
            except TableAlreadyExistsError as error:
                raise ChangedMeanwhile(self._where) from error
        if not table.spec().is_unpartitioned():
            raise StoreError(f"{self._where} is partitioned, which takes no stream of rows; write to another table")
        require_fit(polars_schema(table.schema().as_arrow()), self._schema, self._where)
        return table


def _iceberg_dtype(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    """Iceberg has lists, whose length is not fixed, and no zone of time but UTC."""
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _iceberg_dtype(field.dtype) for field in dtype.fields})
    if isinstance(dtype, (pl.List, pl.Array)):
        return pl.List(_iceberg_dtype(dtype.inner))
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return pl.Datetime("us", "UTC")
    return dtype if isinstance(dtype, pl.DataType) else dtype()
