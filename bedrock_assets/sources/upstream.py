"""The joined table of another pipeline as a source."""

from collections.abc import Callable, Iterator
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
<<<<<<< HEAD
                yield publication.read(part, lambda rows, start=start: rows.slice(start, BATCH_ROWS))
=======
                yield store.read_parquet(part.key, _slice(start))
        if self._manifest()[1].revision != manifest.revision:
            raise DataError(f"{self.describe()} was replaced while it was read, so nothing was published; run it again")
>>>>>>> h/odd-data

    def _latest(self) -> Publication:
        if self.store is None:
            raise ConfigError(f"{self.describe()} is in the store, but no store was given")
<<<<<<< HEAD
        return Publication.latest(self.store, self.name)
=======
        manifest = self.store.read_model(table_manifest_key(self.name), TableManifest)
        if manifest is None:
            raise ConfigError(f"there is no {self.describe()} in {self.store.root} yet; materialize it first")
        return self.store, manifest


def _slice(start: int) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda rows: rows.slice(start, BATCH_ROWS)
>>>>>>> h/odd-data
