"""
The table in a database: merged by record id, in one transaction.

What is new or changed goes to a temporary table, from which one statement inserts and updates. So readers see the table
as it was or as it is, and what dies on the way leaves it as it was.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import polars as pl
from typing_extensions import override

from bedrock_assets.audit import Effect, announced
from bedrock_assets.errors import BedrockAssetsError, ConfigError, StoreError, first_line
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.base import Sent, Target, named, send
from bedrock_assets.sinks.changes import Changes
from bedrock_assets.sinks.database import WHERE, Database, Found, quoted
from bedrock_assets.sinks.database_files import DuckDb, SQLite
from bedrock_assets.sinks.postgresql import PostgreSql
from bedrock_assets.sinks.rows import MARK, SinkRows
from bedrock_assets.sources.connections import scheme_of, uri_of, without_secrets
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store

_STAGED, _GONE = "bedrock_staged", "bedrock_gone"


def publish_sql(store: Store, pipeline: Pipeline, table: TableManifest) -> Sent:
    """
    Make the table under `sinks.sql` equal to the joined table.

    Raises:
        ConfigError: The database is not known, its driver is not installed, or two columns have one name there.
        DataError: An id repeats there, or is another pipeline's.
        StoreError: The table there does not fit, or cannot be written; it stays as it was.
    """
    spec = named(pipeline.spec.sinks.sql, WHERE)
    uri, rows = uri_of(spec, WHERE), SinkRows.of(store, pipeline, table, spec.columns)
    with _explained(uri, spec.table), closing(_open(uri, pipeline.folder)) as database:
        target = SqlTable(database, tuple(spec.table.split(".")), rows, _shown(uri, spec.table))
        target.prepare()
        sent = send(target, rows)
        with announced(Effect.WRITE, target.address):
            database.commit()
        return sent


DATABASES: dict[str, type[PostgreSql | DuckDb | SQLite]] = {
    "postgresql": PostgreSql,
    "postgres": PostgreSql,
    "duckdb": DuckDb,
    "sqlite": SQLite,
}
"""By the scheme of the URI."""


def _open(uri: str, folder: Path) -> Database:
    """
    Connect.

    Raises:
        ConfigError: The URI names no database that is known, or its driver is not installed.
    """
    if scheme_of(uri) not in DATABASES:
        told = f"starts with {scheme_of(uri)}://" if scheme_of(uri) else "has no scheme"
        raise ConfigError(f"{WHERE}: the URI {told}; known: {', '.join(f'{name}://' for name in DATABASES)}")
    return DATABASES[scheme_of(uri)](uri, folder)


@contextmanager
def _explained(uri: str, table: str) -> Generator[None]:
    """Drivers raise errors of their own, some of which repeat the URI."""
    try:
        yield
    except BedrockAssetsError:
        raise
    except Exception as error:
        # The reason is often in the second line: "Error occurred writing COPY data:".
        told = without_secrets(" ".join(str(error).split("\n")[:2]).strip() or first_line(error), uri)
        raise StoreError(f"{WHERE}: table {table} cannot be written: {told}. Nothing was changed") from None


def _shown(uri: str, table: str) -> str:
    """The address without user, password and parameters."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}#{table}"


class Assigned(NamedTuple):
    """A column of the sink."""

    name: str
    dtype: pl.DataType
    type: str
    """In the database."""


class SqlTable(Target):
    """A table in an open transaction."""

    def __init__(self, database: Database, table: tuple[str, ...], rows: SinkRows, address: str) -> None:
        self._database, self._rows, self._address = database, rows, address
        self._names, self._table = table, quoted(*table)
        self._require_distinct_names()
        types = database.types(rows.schema)
        self._void: list[str] = []
        self._columns = [Assigned(name, dtype, types[name]) for name, dtype in rows.schema.items()]

    @property
    @override
    def address(self) -> str:
        return self._address

    def prepare(self) -> None:
        """
        Make the table, or check one that is there by writing no rows to it.

        Raises:
            StoreError: It lacks columns, or has others that have to be given, or its key is of no type of text.
        """
        self._database.reserve(self._table)
        there = {self._database.folded(found.name): found for found in self._database.columns(self._names)}
        if not there:
            self._create()
            return
        if absent := [one for one in self._columns if self._database.folded(one.name) not in there]:
            added = ", ".join(f"ADD COLUMN {quoted(one.name)} {one.type}" for one in absent)
            raise StoreError(
                f"{WHERE}: table {'.'.join(self._names)} has no column {absent[0].name!r}; name the columns to write "
                f"under `columns`, or change it: ALTER TABLE {self._table} {added}"
            )
        self._void = [
            there[folded].name for name in self._rows.void if (folded := self._database.folded(name)) in there
        ]
        ours = {self._database.folded(one.name) for one in self._columns}
        if given := [found.name for name, found in there.items() if found.is_required and name not in ours]:
            raise StoreError(
                f"{WHERE}: table {'.'.join(self._names)} has a column {given[0]!r} that is NOT NULL, has no default "
                "and is not in our table; give it a default"
            )
        for name in (self._rows.key, MARK):
            self._require_text(there[self._database.folded(name)])
        self._database.lock(self._table)
        # Types that do not go together, no unique key, no right to write: told before anything is sent.
        nulls = ", ".join(f"CAST(NULL AS {one.type})" for one in self._columns)
        self._database.run(self._merge(f"SELECT {nulls} WHERE 1 = 0"))

    def _require_text(self, found: Found) -> None:
        """Of numbers and padded texts none is equal to what was written, so all rows would be deleted and written."""
        if not self._database.keeps_text(found.type):
            raise StoreError(
                f"{WHERE}: column {found.name!r} of table {'.'.join(self._names)} is {found.type}, which does not keep "
                "texts as they are; make it `text`, or write to another table. Nothing was changed"
            )

    def _require_distinct_names(self) -> None:
        """
        Raises:
            ConfigError: Two columns have the same name in a database to which capital letters are no others.
        """
        seen: dict[str, str] = {}
        for name in self._rows.schema:
            first = seen.setdefault(self._database.folded(name), name)
            if first != name:
                raise ConfigError(
                    f"{WHERE}: columns {first!r} and {name!r} are the same to this database, which takes no account of "
                    "capital letters; name the columns to write under `columns`, or set `output_prefix` if one of "
                    "them is an answer. Nothing was written"
                )

    def _create(self) -> None:
        columns = [f"{quoted(one.name)} {one.type}" for one in self._columns]
        key = f"PRIMARY KEY ({quoted(self._rows.key)})"
        self._database.run(f"CREATE TABLE {self._table} ({', '.join([*columns, key])})")

    @override
    def marks(self) -> Iterator[pl.DataFrame]:
        key = quoted(self._rows.key)
        yield from self._database.stream(f"SELECT {key} AS id, {MARK} FROM {self._table}")

    @override
    def write(self, changes: Changes) -> None:
        schema, key = _wire(self._database, self._rows.schema), quoted(self._rows.key)
        if changes.n_gone:
            gone = (ids.to_frame("id") for ids in changes.gone())
            self._database.load(_GONE, gone, pl.Schema({"id": pl.String()}))
            self._database.run(f"DELETE FROM {self._table} WHERE {key} IN (SELECT id FROM {_GONE})")
        if changes.n_written:
            self._database.load(_STAGED, (self._converted(rows) for rows in changes.frames()), schema)
            values = ", ".join(f"CAST({quoted(one.name)} AS {one.type})" for one in self._columns)
            self._database.run(self._merge(f"SELECT {values} FROM {_STAGED} WHERE 1 = 1"))

    def _converted(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(self._database.converted(one.name, one.dtype).alias(one.name) for one in self._columns)

    def _merge(self, rows: str) -> str:
        names = ", ".join(quoted(one.name) for one in self._columns)
        others = [quoted(one.name) for one in self._columns if one.name != self._rows.key]
        changed = ", ".join(
            [*(f"{name} = excluded.{name}" for name in others), *(f"{quoted(name)} = NULL" for name in self._void)]
        )
        key = quoted(self._rows.key)
        return f"INSERT INTO {self._table} ({names}) {rows} ON CONFLICT ({key}) DO UPDATE SET {changed}"


def _wire(database: Database, schema: pl.Schema) -> pl.Schema:
    """The schema of what is loaded."""
    empty = pl.DataFrame(schema=schema)
    return empty.select(database.converted(name, dtype).alias(name) for name, dtype in schema.items()).schema
