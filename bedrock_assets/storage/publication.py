"""
The published table of a pipeline, read as one publication: never some files of one build and some of the next.

A build replaces the files of the table one after the other and writes the manifest last. Each file says of what it is
made, and the manifest says of what each of its files has to be made. So a reader knows after each file whether it has
read what the manifest promises. If it has not, it reads the copy that the build has put aside before it replaced the
file; such copies are kept for an hour at least.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError
from polars.io.plugins import register_io_source

from bedrock_assets.columns import columns as exactly
from bedrock_assets.errors import ConfigError, StoreConflict, StoreError
from bedrock_assets.storage.keys import former_part_key, table_manifest_key
from bedrock_assets.storage.manifests import Part, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

TRIES = 3
"""Reads of a whole table before giving up, if new builds keep replacing it faster than it can be read."""

Select = Callable[[pl.LazyFrame], pl.LazyFrame]
"""What to read of a file."""


@dataclass(frozen=True)
class Publication:
    """One build of a table."""

    store: Store
    pipeline: str
    manifest: TableManifest
    reads_on: bool = False
    """
    Whether it is read on after the next build, for an hour and until the one after that. Whoever writes what he reads,
    as a sink does, must not: an older table would replace a newer one there.
    """

    @classmethod
    def latest(cls, store: Store, pipeline: str) -> "Publication":
        """
        The table as it is published now.

        Raises:
            ConfigError: There is no store, no pipeline of this name in it, or no table of it yet.
            StoreError: The store cannot be read.
        """
        if store.is_local and not Path(store.root).is_dir():
            raise ConfigError(
                f"{pipeline}/joined_table: there is no store at {store.root}; name the folder or the s3:// URL of the "
                "store, or set BEDROCK_ASSETS_STORE to it"
            )
        manifest = store.read_model(table_manifest_key(pipeline), TableManifest)
        if manifest is None:
            raise ConfigError(_absent(store, pipeline))
        return cls(store, pipeline, manifest, reads_on=True)

    def scan(self) -> pl.LazyFrame:
        """
        The rows, lazily. Only the columns and parts that a query needs are read; memory holds a few parts.

        A query raises `StoreConflict` once later builds have replaced a file that it needs, and deleted its copy.
        """
        first = self.manifest.parts[0]
        schema = self.read(first, lambda rows: rows.head(0)).schema
        return register_io_source(self._batches, schema=schema, is_pure=True)

    def read(self, part: Part, select: Select) -> pl.DataFrame:
        """
        Read from a part.

        Raises:
            StoreConflict: The part's file belongs to another publication, and its copy is not read or was deleted.
        """
        try:
            return self._read(part, part.key, select)
        except StoreConflict:
            key = former_part_key(self.pipeline, part.identity)
            if not self.reads_on or not part.identity or not self.store.exists(key):
                raise
            return self._read(part, key, select)

    def _read(self, part: Part, key: str, select: Select) -> pl.DataFrame:
        try:
            # Not by `read_parquet`: an error may be the caller's own, and says nothing of the file.
            rows = select(self.store.scan_parquet([key])).collect()
        except (PolarsError, OSError):
            self._require_current(part, key)
            raise
        self._require_current(part, key)
        return rows

    def _batches(
        self, columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        def read(item: tuple[Part, int]) -> pl.DataFrame:
            part, n_first = item
            return self.read(part, lambda rows: _select(rows.head(n_first), columns, predicate))

        # Each part is read by many threads, so one more is enough to have the next one ready.
        yield from map_ordered(read, self._first(n_rows), 1)

    def _first(self, n_rows: int | None) -> Iterator[tuple[Part, int]]:
        """The parts that have the first *n_rows* rows, or all, and how many rows of each."""
        left = self.manifest.n_rows if n_rows is None else n_rows
        for part in self.manifest.parts:
            if left > 0:
                yield part, min(left, part.n_rows)
            left -= part.n_rows

    def _require_current(self, part: Part, key: str) -> None:
        try:
            identity = self.store.parquet_facts(key).get("identity")
        except StoreError:
            if self.store.exists(key):
                raise
            identity = None
        # Tables that were published before manifests had identities are known by their revision alone.
        is_current = identity == part.identity if part.identity else self.is_latest
        if not is_current:
            raise StoreConflict(
                f"{self.pipeline}/joined_table was replaced while it was read, or since it was opened; read it again. "
                f"If this is said again, a build of it is under way or was stopped: materialize {self.pipeline}/"
                "joined_table"
            )

    @property
    def is_latest(self) -> bool:
        """Whether no other build has been published since."""
        manifest = self.store.read_model(table_manifest_key(self.pipeline), TableManifest)
        return manifest is not None and manifest.revision == self.manifest.revision


def read_latest(store: Store, pipeline: str) -> pl.DataFrame:
    """
    Read a whole table into memory; begin again if another build is published meanwhile.

    Raises:
        ConfigError: As `Publication.latest`.
        StoreConflict: A build is under way, or builds kept being published.
    """
    for _ in range(TRIES - 1):
        publication = Publication.latest(store, pipeline)
        try:
            return publication.scan().collect()
        except StoreConflict:
            if publication.is_latest:
                raise
    return Publication.latest(store, pipeline).scan().collect()


def _select(rows: pl.LazyFrame, columns: list[str] | None, predicate: pl.Expr | None) -> pl.LazyFrame:
    rows = rows if columns is None else rows.select(exactly(columns))
    return rows if predicate is None else rows.filter(predicate)


def _absent(store: Store, pipeline: str) -> str:
    folders = store.folders()
    if pipeline in folders:
        return (
            f"{pipeline}/joined_table has not been materialized in {store.root}; materialize it: its shards need "
            "answers first, `bedrock-assets status` shows how far they are"
        )
    tables = [name for name in folders if store.exists(table_manifest_key(name))]
    return (
        f"there is no {pipeline}/joined_table in {store.root}, which has tables of: {', '.join(tables) or 'none'}; "
        f"correct the name of the pipeline or of the store, or materialize {pipeline}/joined_table"
    )
