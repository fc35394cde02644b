"""What a source is."""

from collections.abc import Iterator
from typing import Protocol

import polars as pl

BATCH_ROWS = 16_384
"""Rows of a batch where the source lets us choose: small enough for wide rows, large enough for polars."""


class Source(Protocol):
    """Rows of a dataset, in a fixed order."""

    def describe(self) -> str:
        """One line for messages and metadata, without secrets."""
        ...

    def columns(self) -> list[str] | None:
        """Column names where they can be had at once, without a network call; else None."""
        ...

    def n_rows(self) -> int:
        """Rows in all, by the cheapest way the source has."""
        ...

    def column(self, name: str) -> Iterator[pl.Series]:
        """One column that the source has, in order, in pieces, without the others where the format allows."""
        ...

    def batches(self) -> Iterator[pl.DataFrame]:
        """
        All rows, in order, in frames of one schema.

        Raises:
            ConfigError: The source does not exist or cannot be read as named.
        """
        ...
