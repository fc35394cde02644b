"""The result of a query, streamed: from DuckDB, SQLite, or a driver of ADBC (Arrow Database Connectivity)."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from bedrock_assets.config.source import SqlSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, first_line
from bedrock_assets.sources.base import BATCH_ROWS, Source, explained
from bedrock_assets.sources.connections import (
    database_file,
    driver,
    libpq_uri,
    scheme_of,
    uri_of,
    without_secrets,
)
from bedrock_assets.sources.sqlite import sqlite_rows
from bedrock_assets.sources.storable import storable

_SHOWN_CHARS = 80


@dataclass(frozen=True)
class Query(Source):
    """The rows of a query, in the order in which the database returns them."""

    spec: SqlSpec
    folder: Path
    """Where a relative path to a database begins."""

    @override
    def describe(self) -> str:
        query = " ".join(self.spec.query.split())
        return f"sql: {query if len(query) <= _SHOWN_CHARS else query[: _SHOWN_CHARS - 1] + '…'}"

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        uri = uri_of(self.spec, "source.sql")
        with self._explained(uri):
            for frame in _reader(uri)(uri, self.folder, self.spec.query):
                yield from storable(frame, "source.sql").iter_slices(BATCH_ROWS)

    @contextmanager
    def _explained(self, uri: str) -> Generator[None]:
        """Drivers raise errors of their own, some of which repeat the URI."""
        try:
            with explained("source.sql"):
                yield
        except BedrockAssetsError as error:
            raise ConfigError(without_secrets(str(error), uri)) from None
        except Exception as error:
            raise ConfigError(f"source.sql: {without_secrets(first_line(error), uri)}") from None


def _duckdb(uri: str, folder: Path, query: str) -> Iterator[pl.DataFrame]:
    with closing(
        driver("duckdb", "bedrock-assets[sql]", "source.sql").connect(_database(uri, folder), read_only=True)
    ) as connection:
        rows: Any = connection.sql(query)
        if rows is None:
            raise ConfigError("source.sql: the query returns no rows; write a SELECT")
        _require_names(rows.columns)
        yield from map(pl.DataFrame, rows.to_arrow_reader(BATCH_ROWS))


def _sqlite(uri: str, folder: Path, query: str) -> Iterator[pl.DataFrame]:
    return sqlite_rows(_database(uri, folder), query)


def _adbc(module: str, package: str) -> "Reader":
    def read(uri: str, _: Path, query: str) -> Iterator[pl.DataFrame]:
        opened = driver(module, package, "source.sql").connect(libpq_uri(uri))
        with closing(opened) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(query)
            reader: Any = cursor.fetch_record_batch()
            if not reader.schema.names:
                raise ConfigError("source.sql: the query returns no rows; write a SELECT")
            _require_names(reader.schema.names)
            yield from map(pl.DataFrame, reader)

    return read


Reader = Callable[[str, Path, str], Iterator[pl.DataFrame]]
"""Yields the frames of a query: takes the URI, the folder where relative paths start, and the query."""

_POSTGRESQL = _adbc("adbc_driver_postgresql.dbapi", "bedrock-assets[sql]")
READERS: dict[str, Reader] = {
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    "redshift": _POSTGRESQL,
    "duckdb": _duckdb,
    "sqlite": _sqlite,
    "snowflake": _adbc("adbc_driver_snowflake.dbapi", "adbc-driver-snowflake"),
    "bigquery": _adbc("adbc_driver_bigquery.dbapi", "adbc-driver-bigquery"),
}
"""By the scheme of the URI. Source of the drivers' names: arrow.apache.org/adbc, "Driver Implementation Status"."""


def _reader(uri: str) -> Reader:
    scheme = scheme_of(uri)
    if scheme not in READERS:
        told = f"starts with {scheme}://" if scheme else "has no scheme"
        raise ConfigError(f"source.sql: the URI {told}; known: {', '.join(f'{name}://' for name in READERS)}")
    return READERS[scheme]


def _database(uri: str, folder: Path) -> str:
    path = database_file(uri, folder)
    if path is None or not path.is_file():
        raise ConfigError(
            f"source.sql: there is no database {str(path or folder)!r}; a relative path starts at its defs.yaml"
        )
    return str(path)


def _require_names(names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"source.sql: the query returns column {twice[0]!r} twice; name one with AS")
