"""What a source is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import polars as pl

BATCH_ROWS = 16_384
"""Rows in a batch where we can choose: small enough for wide rows, large enough for polars."""


class Source(ABC):
    """Rows of a dataset, in a fixed order."""

    @abstractmethod
    def describe(self) -> str:
        """One line for messages and metadata, without secrets."""

    def columns(self) -> list[str] | None:
        """Column names, if they are known without a network call; otherwise None."""
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
