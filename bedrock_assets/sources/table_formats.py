"""Delta and Iceberg tables, each read at one version or snapshot from the first row to the last."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl
from typing_extensions import override

from bedrock_assets.columns import column
from bedrock_assets.config.source import DeltaSpec, IcebergSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, first_line
from bedrock_assets.sources.base import BATCH_ROWS, Source, explained
from bedrock_assets.sources.storable import storable

if TYPE_CHECKING:
    from pyiceberg.table import Table


class _Scanned(Source):
    """A source that polars scans."""

    @abstractmethod
    def scan(self) -> pl.LazyFrame:
        """The rows of the version that is read."""

    @override
    def n_rows(self) -> int:
        with explained(f"source {self.describe()}"):
            return self.scan().select(pl.len()).collect().item()

    @override
    def column(self, name: str) -> Iterator[pl.Series]:
        yield from (batch[name] for batch in self._stream(self.scan().select(column(name))))

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        yield from self._stream(self.scan())

    def _stream(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        what = f"source {self.describe()}"
        with explained(what):
            for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                yield storable(batch, what)


@dataclass(frozen=True)
class Delta(_Scanned):
    """A Delta table; needs the extra `delta`."""

    spec: DeltaSpec
    path: str
    """Where it is, not relative to the YAML any more."""

    @override
    def describe(self) -> str:
        # Asked for while the code location loads, when nothing is opened: then the newest version is not known.
        version = self.spec.version if self.spec.version is not None else self.__dict__.get("version")
        return f"delta {self.path}" + ("" if version is None else f" version {version}")

    @cached_property
    def version(self) -> int:
        """The version that is read: the newest is the one at the first look, whatever is written later."""
        try:
            from deltalake import DeltaTable
            from deltalake.exceptions import DeltaError
        except ImportError as error:
            raise ConfigError("source.delta needs an extra: pip install 'bedrock-assets[delta]'") from error
        try:
            table = DeltaTable(self.path, version=self.spec.version)
        except (OSError, DeltaError) as error:
            raise ConfigError(f"source.delta {self.path!r} cannot be read: {first_line(error)}") from error
        return table.version()

    @override
    def scan(self) -> pl.LazyFrame:
        return pl.scan_delta(self.path, version=self.version)


@dataclass(frozen=True)
class Iceberg(_Scanned):
    """An Iceberg table; needs the extra `iceberg`."""

    spec: IcebergSpec

    @override
    def describe(self) -> str:
        opened: tuple[Table, int] | None = self.__dict__.get("_opened")
        snapshot_id = opened[1] if opened else self.spec.snapshot_id
        return f"iceberg {self.spec.table}" + (f" snapshot {snapshot_id}" if snapshot_id else "")

    @override
    def scan(self) -> pl.LazyFrame:
        table, snapshot_id = self._opened
        return pl.scan_iceberg(table, snapshot_id=snapshot_id)

    @cached_property
    def _opened(self) -> "tuple[Table, int]":
        try:
            from pyiceberg.catalog import load_catalog
        except ImportError as error:
            raise ConfigError("source.iceberg needs an extra: pip install 'bedrock-assets[iceberg]'") from error
        named = f"source.iceberg {self.spec.table!r} of catalog {self.spec.catalog!r}"
        try:
            table = load_catalog(self.spec.catalog, **self.spec.properties).load_table(self.spec.table)
            newest = table.current_snapshot()
            known = [snapshot.snapshot_id for snapshot in table.snapshots()]
        except BedrockAssetsError:
            raise
        except Exception as error:  # catalogs are of many kinds, each with errors of its own
            raise ConfigError(f"{named} cannot be opened: {first_line(error)}") from error
        if newest is None:
            raise ConfigError(f"{named} has no rows yet, as it has no snapshot")
        if self.spec.snapshot_id not in (None, *known):
            raise ConfigError(f"{named} has no snapshot {self.spec.snapshot_id}; the newest is {newest.snapshot_id}")
        return table, self.spec.snapshot_id or newest.snapshot_id
