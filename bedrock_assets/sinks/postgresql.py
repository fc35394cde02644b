"""PostgreSQL by ADBC (Arrow Database Connectivity), with pgvector where it is installed."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass
from typing_extensions import override

from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError
from bedrock_assets.sinks.arrow import as_reader
from bedrock_assets.sinks.database import WHERE, Database, Found, as_json, literal, quoted
from bedrock_assets.sinks.rows import is_vector
from bedrock_assets.sources.connections import driver, libpq_uri

MAX_VECTOR = 16_000
"""Dimensions of pgvector's `vector`. Source: pgvector's README, 2026-11."""
_MAX_NAME_BYTES = 63
"""Of a name in PostgreSQL, which cuts longer ones."""


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
    def columns(self, table: Sequence[str]) -> list[Found]:
        name = literal(quoted(*table))
        rows = self.run(
            "SELECT attname::text, attnotnull AND NOT atthasdef AND attidentity = '', "
            "format_type(CASE WHEN typbasetype <> 0 THEN typbasetype ELSE atttypid END, NULL) "
            "FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
            f"WHERE attrelid = to_regclass({name}) AND attnum > 0 AND NOT attisdropped"
        )
        return [Found(*row) for row in rows]

    @override
    def keeps_text(self, type_: str) -> bool:
        return type_ in {"text", "character varying"}

    @override
    def reserve(self, name: str) -> None:
        self.run(f"SELECT pg_advisory_xact_lock(hashtext({literal(f'bedrock_assets {name}')}))::text")

    @override
    def lock(self, table: str) -> None:
        self.run(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")

    @override
    def converted(self, name: str, dtype: pl.DataType) -> pl.Expr:
        value = column(name)
        if is_vector(dtype):
            return value.arr.to_list()
        if _is_document(dtype):
            return as_json(name, dtype).str.replace_all("\\u0000", "", literal=True)
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


def _is_document(dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether PostgreSQL gets a column as JSON."""
    return isinstance(dtype, pl.Struct) or (isinstance(dtype, (pl.List, pl.Array)) and dtype.inner.is_nested())


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
