"""Places of sinks for tests, each read back by another library than the one that wrote it, where there is one."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bedrock_assets.sinks.rows import MARK


@dataclass(frozen=True)
class Place:
    """Where a sink writes."""

    kind: str
    settings: Mapping[str, Any]
    """Under `sinks.<kind>`."""
    read: Callable[..., pl.DataFrame]
    """All rows that are there, in any order, in the types that the reader has."""
    null_lists: tuple[str, ...] = ()
    """Columns whose nulls the place makes empty lists."""

    @property
    def spec(self) -> dict[str, Any]:
        """Keys of the pipeline."""
        return {"sinks": {self.kind: dict(self.settings)}}


def plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as what JSON can say, in the order of their ids, to compare what has been through other types."""
    rows = [json.loads(json.dumps(row, default=_text)) for row in frame.sort("record_id").to_dicts()]
    return [{name: _parsed(value) for name, value in row.items() if name != MARK} for row in rows]


def _text(value: Any) -> Any:
    return list(value) if isinstance(value, (pl.Series, bytes)) else str(value)


def _parsed(value: Any) -> Any:
    """A value; JSON text as what it says, a truth as a number, as SQLite has them."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        return json.loads(value)
    return int(value) if isinstance(value, bool) else value


def sqlite_place(folder: Path) -> Place:
    """An SQLite file."""

    def read(name: str = "calls") -> pl.DataFrame:
        with sqlite3.connect(folder / "out.db") as opened:
            rows = opened.execute(f"SELECT * FROM {name}")  # noqa: S608
            names = [found for found, *_ in rows.description]
            return pl.DataFrame(rows.fetchall(), names, orient="row", infer_schema_length=None)

    return Place("sql", {"connection": "sqlite:///out.db", "table": "calls"}, read)


def duckdb_place(folder: Path) -> Place:
    """A DuckDB file."""

    def read(name: str = "calls") -> pl.DataFrame:
        import duckdb

        with duckdb.connect(str(folder / "out.duckdb"), read_only=True) as opened:
            return opened.sql(f"SELECT * FROM {name}").pl()  # noqa: S608

    return Place("sql", {"connection": "duckdb:///out.duckdb", "table": "calls"}, read)


def iceberg_place(folder: Path) -> Place:
    """A table of a catalog in SQLite, read by polars and by DuckDB."""
    properties = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}

    def read(name: str = "calls") -> pl.DataFrame:
        import duckdb
        from pyiceberg.catalog import load_catalog

        table = load_catalog("out", **properties).load_table(f"shop.{name}")
        with duckdb.connect() as opened:
            opened.register("calls", table.scan().to_arrow())
            rows = opened.sql("SELECT * FROM calls").pl()
        assert plain(rows) == plain(pl.scan_iceberg(table).collect())
        return rows

    return Place("iceberg", {"table": "shop.calls", "catalog": "out", "properties": properties}, read, ("turns",))


def lance_place(folder: Path) -> Place:
    """A database of LanceDB."""

    def read(name: str = "calls") -> pl.DataFrame:
        import lancedb

        return pl.DataFrame(lancedb.connect(folder / "lance").open_table(name).search().to_arrow())

    return Place("lancedb", {"path": "lance", "table": "calls"}, read)
