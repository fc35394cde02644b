"""What a database is to the sink `sql`: one connection with one open transaction."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.pipeline.ids import encodable

WHERE = "sinks.sql"
"""The key, for messages."""


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


def quoted(*names: str) -> str:
    """An identifier, with its schema before it."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def as_json(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as JSON text, null where it is null."""
    value = encodable(column(name), dtype).alias("v")
    encoded = pl.struct(value).struct.json_encode()
    return pl.when(column(name).is_not_null()).then(encoded.str.slice(5, encoded.str.len_chars() - 6)).alias(name)
