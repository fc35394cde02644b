"""
Queries of SQLite, which has no types of columns, only of values.

The ADBC driver takes the types from the first rows, and fails where a later one differs.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import polars as pl

from bedrock_assets.errors import ConfigError
from bedrock_assets.sources.base import BATCH_ROWS

_DTYPES: dict[frozenset[str], type[pl.DataType]] = {
    frozenset(): pl.String,
    frozenset({"integer"}): pl.Int64,
    frozenset({"real"}): pl.Float64,
    frozenset({"integer", "real"}): pl.Float64,
    frozenset({"text"}): pl.String,
    frozenset({"blob"}): pl.Binary,
}
"""By the types of a column's values, nulls left out. Source of the types' names: sqlite.org, `typeof`."""


def sqlite_rows(path: str, query: str) -> Iterator[pl.DataFrame]:
    """
    The rows of a query, of a database that is opened for reading only.

    Args:
        path: Its file.

    Raises:
        ConfigError: A column holds values of types that do not go together, or two have one name.
        sqlite3.Error: The query fails.
    """
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")  # both looks see the same rows
        rows = connection.execute(query)
        if rows.description is None:
            raise ConfigError("source.sql: the query returns no rows; write a SELECT")
        schema = _schema(connection, query, [name for name, *_ in rows.description])
        while some := rows.fetchmany(BATCH_ROWS):
            yield pl.DataFrame(some, schema, orient="row")


def _schema(connection: sqlite3.Connection, query: str, names: list[str]) -> dict[str, type[pl.DataType]]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"source.sql: the query returns column {twice[0]!r} twice; name one with AS")
    schema: dict[str, type[pl.DataType]] = {}
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    found = ", ".join(f"group_concat(DISTINCT typeof({name}))" for name in quoted)
    types: tuple[str | None, ...] = connection.execute(f"SELECT {found} FROM ({query.rstrip().rstrip(';')})").fetchone()  # noqa: S608
    for name, told in zip(names, types, strict=True):
        kinds = frozenset((told or "").split(",")) - {"null", ""}
        if kinds not in _DTYPES:
            raise ConfigError(f"source.sql: column {name!r} holds {' and '.join(sorted(kinds))}; CAST it to one type")
        schema[name] = _DTYPES[kinds]
    return schema
