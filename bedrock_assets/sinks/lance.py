"""
The table in LanceDB: merged by record id.

A merge is one version of the table, and a deletion another, so a reader may for a moment see rows that have left. What
dies between the two is finished by the next run.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
from typing_extensions import override

from bedrock_assets.audit import Effect, announced
from bedrock_assets.columns import column
from bedrock_assets.errors import BedrockAssetsError, ConfigError, StoreError, first_line
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.arrow import as_reader, polars_schema, to_arrow
from bedrock_assets.sinks.base import ChangedMeanwhile, Sent, Target, named, send, turn, until_unchanged
from bedrock_assets.sinks.changes import Changes
from bedrock_assets.sinks.rows import MARK, SinkRows, require_fit
from bedrock_assets.sources import located
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.publish_lock import PublishLock
from bedrock_assets.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

DELETED_AT_ONCE = 1000


def publish_lance(store: Store, pipeline: Pipeline, table: TableManifest) -> Sent:
    """
    Make the table under `sinks.lancedb` equal to the joined table.

    Raises:
        ConfigError: The extra is not installed.
        DataError: An id repeats there, or is another pipeline's.
        StoreConflict: Another run of this sink has begun meanwhile, or others keep changing the table.
        StoreError: The table there does not fit, or cannot be written; what a stopped run leaves is mended by the next.
    """
    spec = named(pipeline.spec.sinks.lancedb, "sinks.lancedb")
    path, rows = located(spec.path, pipeline.folder), SinkRows.of(store, pipeline, table, spec.columns)
    options = store.s3.delta if path.startswith("s3://") and not store.is_local else None
    try:
        import lancedb
    except ImportError as error:
        raise ConfigError("sinks.lancedb needs an extra: pip install 'bedrock-assets[lancedb]'") from error
    lock = turn(store, pipeline, "lance_table")

    def attempt() -> Sent:
        database = lancedb.connect(path, storage_options=options)
        target = LanceTable(database, spec.table, rows, f"{path}#{spec.table}", lock)
        sent = send(target, rows)
        return Sent(sent.address, *sent.counts, more={"version": target.version})

    with _explained(f"sinks.lancedb: table {spec.table} in {path}"):
        return until_unchanged(attempt)


@contextmanager
def _explained(where: str) -> Generator[None]:
    try:
        yield
    except BedrockAssetsError:
        raise
    except Exception as error:  # the library raises ValueError, OSError and RuntimeError
        raise StoreError(f"{where} cannot be written: {first_line(error)}") from error


class LanceTable(Target):
    """A table of a LanceDB database."""

    def __init__(self, database: Any, name: str, rows: SinkRows, address: str, lock: PublishLock) -> None:
        self._rows, self._address, self._lock = rows, address, lock
        self._database, self._is_new = database, False
        try:
            self._table = database.open_table(name)
        except ValueError as error:
            if "was not found" not in str(error):
                raise
            self._is_new = True
            self._table = self._created(name)
        require_fit(polars_schema(self._table.schema), rows.schema, f"sinks.lancedb: table {name}")

    def _created(self, name: str) -> Any:
        try:
            return self._database.create_table(name, schema=_keyed(self._rows.schema, self._rows.key))
        except ValueError as error:
            if "already exists" not in str(error):
                raise
            raise ChangedMeanwhile(f"sinks.lancedb: {self._address}") from error

    @property
    @override
    def address(self) -> str:
        return self._address

    @property
    def version(self) -> int:
        """The newest one."""
        return self._table.version

    @override
    def marks(self) -> Iterator[pl.DataFrame]:
        for batch in self._table.search().select([self._rows.key, MARK]).to_batches():
            yield pl.DataFrame(batch).select(column(self._rows.key).alias("id"), MARK)

    @override
    def write(self, changes: Changes) -> None:
        with announced(Effect.WRITE, self._address):
            self._require_unchanged()
            self._delete(changes.repeated())  # of which a merge would leave copies
            if changes.n_written:
                merge = self._table.merge_insert(self._rows.key).when_matched_update_all().when_not_matched_insert_all()
                there = polars_schema(self._table.schema)
                nulls = {name: there[name] for name in self._rows.void if name in there}
                schema = pl.Schema({**self._rows.schema, **nulls})
                frames = (rows.with_columns(_nulls(nulls)) for rows in changes.frames())
                key = self._table.schema.field(self._rows.key)
                reader = as_reader(frames, schema)
                merge.execute(reader if key.nullable else reader.cast(_keyed(schema, self._rows.key)))
        self._delete(changes.gone())
        self._table.optimize()

    @override
    def forget(self) -> None:
        self._lock.hold()  # the table is that of another run, if there is one
        self._table.checkout_latest()
        if self._is_new and not self._table.count_rows():
            self._database.drop_table(self._table.name)

    def _require_unchanged(self) -> None:
        """
        Raises:
            StoreConflict: The right to write is another run's, or the version is not the one that was read.
        """
        self._lock.hold()
        read = self._table.version
        self._table.checkout_latest()
        if self._table.version != read:
            raise ChangedMeanwhile(f"sinks.lancedb: {self._address}")

    def _delete(self, deleted: Iterator[pl.Series]) -> None:
        for ids in deleted:
            for some in ids.to_frame("id").iter_slices(DELETED_AT_ONCE):
                self._lock.hold()
                with announced(Effect.DELETE, self._address):
                    self._table.delete(f"{self._rows.key} IN ({', '.join(map(_literal, some['id']))})")


def _nulls(columns: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    return [pl.lit(None, dtype).alias(name) for name, dtype in columns.items()]


def _keyed(columns: pl.Schema, name: str) -> "pa.Schema":
    """The schema of a new table, whose key lets LanceDB tell that two merges at once insert the same row."""
    schema = to_arrow(pl.DataFrame(schema=columns)).schema
    index = schema.get_field_index(name)
    key = schema.field(index).with_nullable(False).with_metadata({"lance-schema:unenforced-primary-key": "true"})
    return schema.set(index, key)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
