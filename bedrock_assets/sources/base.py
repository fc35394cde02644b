"""What a source is."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import polars as pl
from polars.exceptions import PanicException, PolarsError
from typing_extensions import override

from bedrock_assets.errors import ConfigError, first_line

BATCH_ROWS = 16_384
"""Rows in a batch where we can choose: small enough for wide rows, large enough for polars."""


Piece = TypeVar("Piece", pl.DataFrame, pl.Series)


class Source(ABC):
    """Rows of a dataset, in a fixed order."""

    @abstractmethod
    def describe(self) -> str:
        """One line for messages and metadata, without secrets."""

    def columns(self) -> list[str] | None:
        """
        Column names, if they are known without reading anything; otherwise None.

        It is asked while the code location is loaded, so that a source which cannot be read stops its own pipeline's
        work and nothing else.
        """
        return None

    def n_rows(self) -> int:
        """The number of rows, counted in the cheapest way."""
        return sum(map(len, self.batches()))

    def column(self, name: str) -> Iterator[pl.Series]:
        """One existing column, in order, in pieces; reads only this column if the format allows it."""
        return (batch[name] for batch in self.batches())

    @abstractmethod
    def batches(self) -> Iterator[pl.DataFrame]:
        """
        All rows, in order, in frames of one schema.

        Raises:
            ConfigError: The source does not exist or cannot be read.
        """


@contextmanager
def explained(what: str) -> Generator[None]:
    """
    Turn whatever a reader raises, panics of polars included, into an error that names the source.

    Args:
        what: The source, as in a message.

    Raises:
        ConfigError: The source cannot be read.
    """
    try:
        yield
    except PanicException as error:
        raise ConfigError(
            f"{what} cannot be read: {_innermost(error)}. Polars cannot read this kind of value; write the column as "
            "another type, such as text, or a time zone by its name"
        ) from error
    except (OSError, PolarsError) as error:
        raise ConfigError(f"{what} cannot be read: {first_line(error)}") from error


def _innermost(error: BaseException) -> str:
    """The words in a panic's text, without the Rust around them."""
    text = first_line(error)
    return text.partition('ErrString("')[2].partition("\\n")[0].rstrip('")') or text


@dataclass(frozen=True)
class Limited(Source):
    """The first rows of a source."""

    source: Source
    limit: int
    """Rows at most."""

    @override
    def describe(self) -> str:
        return f"{self.source.describe()}, first {self.limit:,} rows"

    @override
    def columns(self) -> list[str] | None:
        return self.source.columns()

    @override
    def n_rows(self) -> int:
        return min(self.limit, self.source.n_rows())

    @override
    def column(self, name: str) -> Iterator[pl.Series]:
        return _first(self.source.column(name), self.limit)

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        return _first(self.source.batches(), self.limit)


def _first(pieces: Iterator[Piece], limit: int) -> Iterator[Piece]:
    for piece in pieces:
        yield piece.head(limit)
        limit -= len(piece)
        if limit <= 0:
            return
