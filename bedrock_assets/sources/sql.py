"""The result of a query, streamed: from DuckDB, SQLite, or a driver of ADBC (Arrow Database Connectivity)."""

import importlib
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
from typing_extensions import override

from bedrock_assets.config.source import SqlSpec, secrets_of
from bedrock_assets.errors import BedrockAssetsError, ConfigError, first_line
from bedrock_assets.sources.base import BATCH_ROWS, Source, explained
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
        uri = self._uri()
        with self._explained(uri):
            for frame in _reader(uri)(uri, self.folder, self.spec.query):
                yield from storable(frame, "source.sql").iter_slices(BATCH_ROWS)

    def _uri(self) -> str:
        if self.spec.connection is not None:
            return self.spec.connection
        name = self.spec.connection_env or ""
        if not (uri := os.environ.get(name)):
            raise ConfigError(f"source.sql: environment variable {name} is not set; set it to the URI of the database")
        return uri

    @contextmanager
    def _explained(self, uri: str) -> Generator[None]:
        """Drivers raise errors of their own, some of which repeat the URI."""
        try:
            with explained("source.sql"):
                yield
        except BedrockAssetsError as error:
            raise ConfigError(_without_secrets(str(error), uri)) from None
        except Exception as error:
            raise ConfigError(f"source.sql: {_without_secrets(first_line(error), uri)}") from None


def _duckdb(uri: str, folder: Path, query: str) -> Iterator[pl.DataFrame]:
    with closing(
        _driver("duckdb", "bedrock-assets[sql]").connect(_database(uri, folder), read_only=True)
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
        driver = _driver(module, package)
        target = re.sub(r"^(redshift|postgresql|postgres)(\+\w+)?://", "postgresql://", uri)
        with closing(driver.connect(target)) as connection, closing(connection.cursor()) as cursor:
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
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in READERS:
        told = f"starts with {scheme}://" if scheme else "has no scheme"
        raise ConfigError(f"source.sql: the URI {told}; known: {', '.join(f'{name}://' for name in READERS)}")
    return READERS[scheme]


def _driver(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"source.sql needs a driver that is not installed: pip install '{package}'") from error


def _database(uri: str, folder: Path) -> str:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`, as SQLAlchemy writes them."""
    written = unquote(urlsplit(uri).path).removeprefix("/")
    path = folder / written
    if not written or not path.is_file():
        raise ConfigError(f"source.sql: there is no database {str(path)!r}; a relative path starts at its defs.yaml")
    return str(path)


def _require_names(names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"source.sql: the query returns column {twice[0]!r} twice; name one with AS")


def _without_secrets(text: str, uri: str) -> str:
    for secret in sorted({uri, *secrets_of(uri)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
