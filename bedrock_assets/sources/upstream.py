"""The joined table of another pipeline as a source."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from typing_extensions import override

from bedrock_assets.errors import ConfigError
from bedrock_assets.sources.base import BATCH_ROWS, Source
from bedrock_assets.storage import Publication, Store


@dataclass(frozen=True)
class Upstream(Source):
    """The table of another pipeline."""

    name: str
    store: Store | None

    @override
    def describe(self) -> str:
        return f"{self.name}/joined_table"

    @override
    def n_rows(self) -> int:
        return self._latest().manifest.n_rows

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        publication = self._latest()
        for part in publication.manifest.parts:
            for start in range(0, part.n_rows, BATCH_ROWS):
                yield publication.read(part, lambda rows, start=start: rows.slice(start, BATCH_ROWS))

    def _latest(self) -> Publication:
        if self.store is None:
            raise ConfigError(f"{self.describe()} is in the store, but no store was given")
        return Publication.latest(self.store, self.name)
