"""Queries of DuckDB, SQLite and a real PostgreSQL server: types, order, memory of one batch, and what goes wrong."""

import sqlite3
from collections.abc import Callable, Generator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from pydantic import ValidationError

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources import BATCH_ROWS, open_source
from tests.labs.postgres import postgres, uri_of

N_ROWS = 2 * BATCH_ROWS + 7
DRAW = "SELECT i AS id, 'text ' || i AS text, CASE WHEN i > 5000 THEN 0.5 END AS score FROM "
ODD = "SELECT 7 AS id, DATE '2026-11-01' AS day, CAST(1.50 AS NUMERIC(9, 2)) AS price, CAST(NULL AS TEXT) AS nothing"


def read(folder: Path, query: str, **connection: str) -> list[pl.DataFrame]:
    """The batches of a query."""
    spec = SourceSpec.model_validate({"sql": {"query": query, **connection}, "id_column": "id"})
    return list(open_source(spec, None, folder).batches())


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    """The URI of a PostgreSQL server, with its password."""
    with postgres() as env:
        yield uri_of(env)


def make_duckdb(folder: Path) -> str:
    """A database with a table of many rows."""
    with duckdb.connect(str(folder / "sales.duckdb")) as made:
        made.execute(f"CREATE TABLE calls AS {DRAW} range({N_ROWS}) AS drawn(i)")
    return "duckdb:///sales.duckdb"


def make_sqlite(folder: Path) -> str:
    """The same, for which the URI is absolute."""
    path = folder / "sales with spaces.db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE calls (id, text, score)")
        rows = ((i, f"text {i}", 0.5 if i > 5000 else None) for i in range(N_ROWS))
        made.executemany("INSERT INTO calls VALUES (?, ?, ?)", rows)
    return f"sqlite:////{str(path).removeprefix('/')}"


@pytest.mark.parametrize("make", [make_duckdb, make_sqlite])
def test_rows_in_batches(tmp_path: Path, make: Callable[[Path], str]) -> None:
    """All rows come in the order of the query, in batches of one schema, whatever is null in the first of them."""
    batches = read(tmp_path, "SELECT * FROM calls ORDER BY id DESC", connection=make(tmp_path))
    assert max(map(len, batches)) <= BATCH_ROWS
    rows = pl.concat(batches)
    assert rows["id"].to_list() == list(range(N_ROWS))[::-1]
    assert rows["text"][0] == f"text {N_ROWS - 1}"
    assert rows["score"].null_count() == 5001
    assert rows.schema["score"].is_numeric()


def test_postgresql(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URI is in a variable; types are kept as far as Arrow has them."""
    monkeypatch.setenv("SALES", server.replace("postgresql://", "postgresql+psycopg2://"))
    rows = pl.concat(read(tmp_path, f"{DRAW} generate_series(0, {N_ROWS - 1}) AS i ORDER BY i", connection_env="SALES"))
    assert rows["id"].to_list() == list(range(N_ROWS))
    (odd,) = read(tmp_path, ODD, connection_env="SALES")
    assert odd.row(0) == (7, date(2026, 11, 1), "1.50", None)


def test_postgresql_says_what_is_wrong(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that fails, and a password that is wrong, are told without the URI or the password."""
    monkeypatch.setenv("SALES", server)
    for query in ("SELECT nope", "SELECT 1 AS id FROM nowhere", "DROP TABLE nowhere"):
        with pytest.raises(ConfigError, match=r"source\.sql.*(nope|nowhere)"):
            read(tmp_path, query, connection_env="SALES")
    password = server.split(":")[2].split("@", maxsplit=1)[0]
    for uri in (server.replace(password, "wrong-secret"), f"{server}_other", f"{server}?password=wrong-secret"):
        monkeypatch.setenv("SALES", uri)
        with pytest.raises(ConfigError, match=r"source\.sql") as told:
            read(tmp_path, "SELECT 1 AS id", connection_env="SALES")
        assert "wrong-secret" not in str(told.value)
        assert password not in str(told.value)


def test_a_query_cannot_write(tmp_path: Path) -> None:
    """Databases in files are opened for reading; what returns no rows is refused."""
    for make in (make_duckdb, make_sqlite):
        uri = make(tmp_path)
        with pytest.raises(ConfigError, match=r"read-?only"):
            read(tmp_path, "DELETE FROM calls", connection=uri)
        assert sum(map(len, read(tmp_path, "SELECT id FROM calls", connection=uri))) == N_ROWS


@pytest.mark.parametrize(
    ("connection", "query", "told"),
    [
        ({"connection": "sqlite:///none.db"}, "SELECT 1", "there is no database '.*none.db'"),
        ({"connection": "duckdb:///"}, "SELECT 1", "there is no database"),
        ({"connection": "mysql://db/sales"}, "SELECT 1", "starts with mysql://; known: postgresql://"),
        ({"connection": "sales.db"}, "SELECT 1", "has no scheme"),
        ({"connection_env": "NOT_SET"}, "SELECT 1", "variable NOT_SET is not set"),
        ({"connection": "snowflake://account/db"}, "SELECT 1", "pip install 'adbc-driver-snowflake'"),
        ({"connection": "duckdb:///sales.duckdb"}, "SELECT 1 AS a, 2 AS a", "column 'a' twice; name one with AS"),
        ({"connection": "sqlite:///odd.db"}, "SELECT x FROM odd", "column 'x' holds integer and text; CAST"),
        ({"connection": "sqlite:///odd.db"}, "SELECT 1 AS a, 2 AS a", "column 'a' twice"),
        ({"connection": "sqlite:///odd.db"}, "SELECT nope", "no such column: nope"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, connection: dict[str, str], query: str, told: str) -> None:
    """One clear error, before anything is written."""
    make_duckdb(tmp_path)
    with sqlite3.connect(tmp_path / "odd.db") as made:
        made.execute("CREATE TABLE odd (x)")
        made.executemany("INSERT INTO odd VALUES (?)", [(1,), ("one",)])
    with pytest.raises(ConfigError, match=told):
        read(tmp_path, query, **connection)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"sql": {"query": "SELECT 1", "connection": "duckdb:///a"}}, "name an `id_column`"),
        ({"sql": {"query": "SELECT 1", "connection": "postgresql://u:secret@h/d"}}, "holds a password"),
        ({"sql": {"query": "SELECT 1", "connection": "postgresql://h/d?password=secret"}}, "holds a password"),
        ({"sql": {"query": "SELECT 1"}}, "exactly one of connection, connection_env"),
        ({"sql": {"query": "SELECT 1", "connection": "duckdb:///a"}, "path": "a.csv", "id_column": "i"}, "exactly one"),
    ],
)
def test_what_is_refused_at_load(spec: dict[str, Any], told: str) -> None:
    """Before anything is read, and without the secret."""
    with pytest.raises(ValidationError, match=told):
        SourceSpec.model_validate(spec)
