"""The joined table of another pipeline as a source."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl
from typing_extensions import override

from bedrock_assets.errors import ConfigError, DataError
from bedrock_assets.sources.base import BATCH_ROWS, Source
from bedrock_assets.storage import Store, TableManifest
from bedrock_assets.storage.keys import table_manifest_key


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
        return self._manifest()[1].n_rows

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        store, manifest = self._manifest()
        for part in manifest.parts:
            for start in range(0, part.n_rows, BATCH_ROWS):
                yield store.read_parquet(part.key, _slice(start))
        if self._manifest()[1].revision != manifest.revision:
            raise DataError(f"{self.describe()} was replaced while it was read, so nothing was published; run it again")

    def _manifest(self) -> tuple[Store, TableManifest]:
        if self.store is None:
            raise ConfigError(f"{self.describe()} is in the store, but no store was given")
        manifest = self.store.read_model(table_manifest_key(self.name), TableManifest)
        if manifest is None:
            raise ConfigError(f"there is no {self.describe()} in {self.store.root} yet; materialize it first")
        return self.store, manifest


def _slice(start: int) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda rows: rows.slice(start, BATCH_ROWS)
