"""Databases that are files: DuckDB and SQLite."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError, StoreConflict
from bedrock_assets.sinks.arrow import as_reader
from bedrock_assets.sinks.database import WHERE, Database, Found, as_json, ascii_folded, literal, quoted
from bedrock_assets.sources.connections import database_file, driver

_FETCHED_ROWS = 16_384
WAIT_S = 60.0
"""For another process that has the file, such as another pipeline's sink."""
_BETWEEN_S = 0.2


class DuckDb(Database):
    """A DuckDB file."""

    def __init__(self, uri: str, folder: Path) -> None:
        duckdb = driver("duckdb", "bedrock-assets[sql]", WHERE)
        self._connection: Any = _when_free(duckdb, _file(uri, folder))
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
    def columns(self, table: Sequence[str]) -> list[Found]:
        within = f"schema_name = {literal(table[0]) if len(table) > 1 else 'current_schema()'}"
        rows = self.run(
            "SELECT column_name, NOT is_nullable AND column_default IS NULL, data_type FROM duckdb_columns() "
            f"WHERE database_name = current_database() AND {within} AND table_name = {literal(table[-1])}"
        )
        return [Found(*row) for row in rows]

    @override
    def keeps_text(self, type_: str) -> bool:
        return type_ == "VARCHAR"

    @override
    def folded(self, name: str) -> str:
        return ascii_folded(name)

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
        path = _file(uri, folder)
        self._connection = sqlite3.connect(path, WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            self._connection.close()
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # the rest of the code says why it is busy
                raise
            raise _held(path, "") from error

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
    def columns(self, table: Sequence[str]) -> list[Found]:
        name, within = literal(table[-1]), f", {literal(table[0])}" if len(table) > 1 else ""
        rows = self.run(
            f'SELECT name, "notnull" AND dflt_value IS NULL AND NOT pk, type FROM pragma_table_info({name}{within})'
        )
        return [Found(*row) for row in rows]

    @override
    def keeps_text(self, type_: str) -> bool:
        """Others make numbers of texts that look like some. Source: sqlite.org, "Determination Of Column Affinity"."""
        name = type_.upper()
        is_text = any(part in name for part in ("CHAR", "CLOB", "TEXT"))
        return "INT" not in name and (is_text or "BLOB" in name or not name)

    @override
    def folded(self, name: str) -> str:
        return ascii_folded(name)

    @override
    def converted(self, name: str, dtype: pl.DataType) -> pl.Expr:
        if dtype.is_nested():
            return as_json(name, dtype)
        return column(name).cast(pl.String) if dtype.is_temporal() or dtype.is_decimal() else column(name)

    @override
    def commit(self) -> None:
        self._connection.execute("COMMIT")

    @override
    def close(self) -> None:
        self._connection.close()


def _when_free(duckdb: Any, path: str) -> Any:
    """A connection to a DuckDB file, which only one process at a time can open for writing."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return duckdb.connect(path)
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error):
                raise
            if time.monotonic() > deadline:
                holder = re.search(r"held in (.+? \(PID \d+\))", str(error))
                raise _held(path, f", {holder[1]}" if holder else "") from error
            time.sleep(_BETWEEN_S)


def _held(path: str, holder: str) -> StoreConflict:
    return StoreConflict(
        f"{WHERE}: another process{holder} holds the database {path!r}, and did not let go of it in {WAIT_S:g} s; end "
        "it, or materialize the asset again when it has ended. Nothing was changed"
    )


def _file(uri: str, folder: Path) -> str:
    path = database_file(uri, folder)
    if path is None or not path.parent.is_dir():
        raise ConfigError(
            f"{WHERE}: there is no folder for the database {str(path or folder)!r}; make it, or correct the URI"
        )
    return str(path)


def _sqlite_type(dtype: pl.DataType) -> str:
    if dtype.is_integer() or dtype == pl.Boolean:
        return "INTEGER"
    return "REAL" if dtype.is_float() else "BLOB" if dtype == pl.Binary else "TEXT"
