"""What a database is to the sink `sql`: one connection with one open transaction."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.pipeline.ids import encodable

WHERE = "sinks.sql"
"""The key, for messages."""


class Found(NamedTuple):
    """A column of a table that is there."""

    name: str
    is_required: bool
    """Whether it has to be given a value."""
    type: str
    """As the database calls it."""


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
    def columns(self, table: Sequence[str]) -> list[Found]:
        """Columns of a table; empty if there is no such table."""

    @abstractmethod
    def keeps_text(self, type_: str) -> bool:
        """Whether a column of a type that `columns` tells gives a text back as it was written."""

    def folded(self, name: str) -> str:
        """What names of the same column have in common; by default capital letters make another name."""
        return name

    def reserve(self, name: str) -> None:
        """Keep others from making a table of a name until the transaction ends; files are held as a whole."""
        del name

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


def ascii_folded(name: str) -> str:
    """A name with small letters from a to z, as databases fold it that do not know others."""
    return name.encode().lower().decode()


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def as_json(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as JSON text, null where it is null."""
    value = encodable(column(name), dtype).alias("v")
    encoded = pl.struct(value).struct.json_encode()
    return pl.when(column(name).is_not_null()).then(encoded.str.slice(5, encoded.str.len_chars() - 6)).alias(name)
