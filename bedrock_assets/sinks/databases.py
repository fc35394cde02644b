"""The databases of the sink `sql`, behind the same few calls: each is one connection with one open transaction."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass
from typing_extensions import override

from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.ids import encodable
from bedrock_assets.sinks.arrow import as_reader
from bedrock_assets.sinks.rows import is_vector
from bedrock_assets.sources.connections import database_file, driver, libpq_uri, scheme_of

WHERE = "sinks.sql"
MAX_VECTOR = 16_000
"""Dimensions of pgvector's `vector`. Source: pgvector's README, 2026-11."""
_MAX_NAME_BYTES = 63
"""Of a name in PostgreSQL, which cuts longer ones."""
_FETCHED_ROWS = 16_384


class Database(ABC):
    """A connection. Nothing is kept unless `commit` is called."""

    @abstractmethod
    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Execute a statement; returns its rows, if it has any."""

    @abstractmethod
    def stream(self, sql: str) -> Iterator[pl.DataFrame]:
        """The rows of a query, some at a time."""

    @abstractmethod
    def load(self, table: str, frames: Iterator[pl.DataFrame], schema: pl.Schema) -> None:
        """Make frames, whose columns are as `converted` makes them, a table that can be read once, and goes."""

    @abstractmethod
    def types(self, schema: pl.Schema) -> dict[str, str]:
        """The types of the columns of a new table."""

    @abstractmethod
    def columns(self, table: Sequence[str]) -> dict[str, bool]:
        """Columns of a table and whether each has to be given a value; empty if there is no such table."""

    def lock(self, table: str) -> None:
        """Keep others from writing to a table until the transaction ends; by default the database does so itself."""
        del table

    def converted(self, name: str, dtype: pl.DataType) -> pl.Expr:
        """A column as the driver takes it."""
        del dtype
        return column(name)

    @abstractmethod
    def commit(self) -> None:
        """Keep everything."""

    @abstractmethod
    def close(self) -> None:
        """Undo what is not committed."""


class PostgreSql(Database):
    """By ADBC, which loads by COPY."""

    def __init__(self, uri: str, _: Path) -> None:
        connect = driver("adbc_driver_postgresql.dbapi", "bedrock-assets[sql]", WHERE).connect
        self._connection: Any = connect(libpq_uri(uri))

    @override
    def run(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    @override
    def stream(self, sql: str) -> Iterator[pl.DataFrame]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            yield from map(pl.DataFrame, cursor.fetch_record_batch())

    @override
    def load(self, table: str, frames: Iterator[pl.DataFrame], schema: pl.Schema) -> None:
        with closing(self._connection.cursor()) as cursor:
            cursor.adbc_ingest(table, as_reader(frames, schema), mode="create", temporary=True)

    @override
    def types(self, schema: pl.Schema) -> dict[str, str]:
        if long := [name for name in schema if len(name.encode()) > _MAX_NAME_BYTES]:
            raise ConfigError(
                f"{WHERE}: column {long[0]!r} is longer than PostgreSQL's {_MAX_NAME_BYTES} bytes; rename it"
            )
        found = self.run(
            "SELECT format_type(t.oid, NULL) FROM pg_type t JOIN pg_depend d ON d.objid = t.oid AND d.deptype = 'e' "
            "JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = 'vector' AND t.typname = 'vector'"
        )
        return {name: _postgresql_type(dtype, found[0][0] if found else None) for name, dtype in schema.items()}

    @override
    def columns(self, table: Sequence[str]) -> dict[str, bool]:
        name = literal(quoted(*table))
        return dict(
            self.run(
                "SELECT attname::text, attnotnull AND NOT atthasdef AND attidentity = '' FROM pg_attribute "
                f"WHERE attrelid = to_regclass({name}) AND attnum > 0 AND NOT attisdropped"
            )
        )

    @override
    def lock(self, table: str) -> None:
        self.run(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")

    @override
    def converted(self, name: str, dtype: pl.DataType) -> pl.Expr:
        value = column(name)
        if is_vector(dtype):
            return value.arr.to_list()
        if _is_document(dtype):
            return _json(name, dtype).str.replace_all("\\u0000", "", literal=True)
        if dtype == pl.String:  # PostgreSQL has no NUL in texts
            return value.str.replace_all("\0", "", literal=True)
        if dtype == pl.List(pl.String):
            return value.list.eval(pl.element().str.replace_all("\0", "", literal=True))
        return value

    @override
    def commit(self) -> None:
        self._connection.commit()

    @override
    def close(self) -> None:
        self._connection.close()


class DuckDb(Database):
    """A DuckDB file."""

    def __init__(self, uri: str, folder: Path) -> None:
        connect = driver("duckdb", "bedrock-assets[sql]", WHERE).connect
        self._connection: Any = connect(_file(uri, folder))
        self._connection.execute("BEGIN")

    @override
    def run(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    @override
    def stream(self, sql: str) -> Iterator[pl.DataFrame]:
        yield from map(pl.DataFrame, self._connection.sql(sql).to_arrow_reader(_FETCHED_ROWS))

    @override
    def load(self, table: str, frames: Iterator[pl.DataFrame], schema: pl.Schema) -> None:
        self._connection.register(table, as_reader(frames, schema))

    @override
    def types(self, schema: pl.Schema) -> dict[str, str]:
        self._connection.register("empty", as_reader(iter(()), schema))
        found = {name: dtype for name, dtype, *_ in self.run("DESCRIBE SELECT * FROM empty")}
        self._connection.unregister("empty")
        return found

    @override
    def columns(self, table: Sequence[str]) -> dict[str, bool]:
        within = f"schema_name = {literal(table[0]) if len(table) > 1 else 'current_schema()'}"
        return dict(
            self.run(
                "SELECT column_name, NOT is_nullable AND column_default IS NULL FROM duckdb_columns() "
                f"WHERE database_name = current_database() AND {within} AND table_name = {literal(table[-1])}"
            )
        )

    @override
    def commit(self) -> None:
        self._connection.execute("COMMIT")

    @override
    def close(self) -> None:
        self._connection.close()


class SQLite(Database):
    """An SQLite file, where what is not a number, a text or bytes is text: dates, and lists and structs as JSON."""

    def __init__(self, uri: str, folder: Path) -> None:
        import sqlite3

        # Polars reads streams in a thread of its own, while this one waits.
        self._connection = sqlite3.connect(_file(uri, folder), isolation_level=None, check_same_thread=False)
        self._connection.execute("BEGIN IMMEDIATE")

    @override
    def run(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    @override
    def stream(self, sql: str) -> Iterator[pl.DataFrame]:
        rows = self._connection.execute(sql)
        names = [name for name, *_ in rows.description]
        while some := rows.fetchmany(_FETCHED_ROWS):
            yield pl.DataFrame(some, dict.fromkeys(names, pl.String), orient="row")

    @override
    def load(self, table: str, frames: Iterator[pl.DataFrame], schema: pl.Schema) -> None:
        self.run(f"CREATE TEMP TABLE {quoted(table)} ({', '.join(quoted(name) for name in schema)})")
        marks = ", ".join("?" * len(schema))
        for frame in frames:
            self._connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", frame.iter_rows())

    @override
    def types(self, schema: pl.Schema) -> dict[str, str]:
        return {name: _sqlite_type(dtype) for name, dtype in schema.items()}

    @override
    def columns(self, table: Sequence[str]) -> dict[str, bool]:
        name, within = literal(table[-1]), f", {literal(table[0])}" if len(table) > 1 else ""
        return dict(
            self.run(f'SELECT name, "notnull" AND dflt_value IS NULL AND NOT pk FROM pragma_table_info({name}{within})')
        )

    @override
    def converted(self, name: str, dtype: pl.DataType) -> pl.Expr:
        if dtype.is_nested():
            return _json(name, dtype)
        return column(name).cast(pl.String) if dtype.is_temporal() or dtype.is_decimal() else column(name)

    @override
    def commit(self) -> None:
        self._connection.execute("COMMIT")

    @override
    def close(self) -> None:
        self._connection.close()


DATABASES: dict[str, type[PostgreSql | DuckDb | SQLite]] = {
    "postgresql": PostgreSql,
    "postgres": PostgreSql,
    "duckdb": DuckDb,
    "sqlite": SQLite,
}
"""By the scheme of the URI."""


def open_database(uri: str, folder: Path) -> Database:
    """
    Connect.

    Raises:
        ConfigError: The URI names no database that is known, or its driver is not installed.
    """
    if scheme_of(uri) not in DATABASES:
        told = f"starts with {scheme_of(uri)}://" if scheme_of(uri) else "has no scheme"
        raise ConfigError(f"{WHERE}: the URI {told}; known: {', '.join(f'{name}://' for name in DATABASES)}")
    return DATABASES[scheme_of(uri)](uri, folder)


def quoted(*names: str) -> str:
    """An identifier, with its schema before it."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _file(uri: str, folder: Path) -> str:
    path = database_file(uri, folder)
    if path is None or not path.parent.is_dir():
        raise ConfigError(
            f"{WHERE}: there is no folder for the database {str(path or folder)!r}; make it, or correct the URI"
        )
    return str(path)


def _is_document(dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether PostgreSQL gets a column as JSON."""
    return isinstance(dtype, pl.Struct) or (isinstance(dtype, (pl.List, pl.Array)) and dtype.inner.is_nested())


def _json(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as JSON text, null where it is null."""
    value = encodable(column(name), dtype).alias("v")
    encoded = pl.struct(value).struct.json_encode()
    return pl.when(column(name).is_not_null()).then(encoded.str.slice(5, encoded.str.len_chars() - 6)).alias(name)


def _postgresql_type(dtype: pl.DataType | DataTypeClass, vector: str | None) -> str:
    if isinstance(dtype, pl.Array) and is_vector(dtype) and vector and dtype.size <= MAX_VECTOR:
        return f"{vector}({dtype.size})"
    if _is_document(dtype):
        return "jsonb"
    if isinstance(dtype, (pl.List, pl.Array)):
        return f"{_postgresql_type(dtype.inner, None)}[]"
    if isinstance(dtype, pl.Datetime):
        return "timestamptz" if dtype.time_zone else "timestamp"
    if isinstance(dtype, pl.Decimal):
        return f"numeric({dtype.precision}, {dtype.scale})"
    names: dict[object, str] = {
        pl.Boolean: "boolean",
        pl.Int32: "integer",
        pl.Int64: "bigint",
        pl.Float32: "real",
        pl.Float64: "double precision",
        pl.Date: "date",
        pl.Binary: "bytea",
    }
    return names.get(dtype.base_type(), "text")


def _sqlite_type(dtype: pl.DataType) -> str:
    if dtype.is_integer() or dtype == pl.Boolean:
        return "INTEGER"
    return "REAL" if dtype.is_float() else "BLOB" if dtype == pl.Binary else "TEXT"
