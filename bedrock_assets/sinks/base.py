"""What a sink is: a place that keeps the table a second time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from bedrock_assets.errors import ConfigError, panics_are_errors
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.changes import Changes, found_changes
from bedrock_assets.sinks.rows import SinkRows
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Sent:
    """What became of the table in a sink."""

    address: str
    """Where it is, without secrets."""
    n_rows: int
    n_written: int
    """Rows that were new or changed."""
    n_deleted: int = 0
    """Rows that had left the table."""
    n_unchanged: int = 0
    """Rows that were there as they are."""
    more: Mapping[str, str | int] = field(default_factory=dict)
    """Further metadata, such as the version; `url` is one that people open."""

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Rows in the sink, and those of them written, deleted and unchanged, in the order of the fields."""
        return self.n_rows, self.n_written, self.n_deleted, self.n_unchanged


class Target(ABC):
    """The table of a sink, opened."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is, without secrets."""

    @abstractmethod
    def marks(self) -> Iterator[pl.DataFrame]:
        """String columns `id` and `MARK` of all rows that are there."""

    @abstractmethod
    def write(self, changes: Changes) -> None:
        """Write and delete; all at once where the place can."""


def send(target: Target, rows: SinkRows) -> Sent:
    """Write to a sink what has changed since it was written last."""
    where = f"{target.address} cannot be written"
    with panics_are_errors(where), found_changes(rows, target.marks()) as changes:
        if changes:
            try:
                target.write(changes)
            except Exception:
                if changes.failure:  # drivers turn what a stream of rows raises into errors of their own
                    raise changes.failure from None
                raise
        n_rows = changes.n_written + changes.n_unchanged
        return Sent(target.address, n_rows, changes.n_written, changes.n_gone, changes.n_unchanged)


Publish = Callable[[Store, Pipeline, TableManifest], Sent]
"""Makes the place that the pipeline's spec names equal to the table."""


def named(setting: Setting | None, key: str) -> Setting:
    """
    The setting of a sink.

    Raises:
        ConfigError: The pipeline does not name it.
    """
    if setting is None:
        raise ConfigError(f"{key} is not set")
    return setting


@dataclass(frozen=True)
class Sink:
    """A kind of sink."""

    asset: str
    """Name of its asset."""
    description: str
    kinds: frozenset[str]
    """Dagster kinds."""
    publish: Publish
    is_automatic: bool = True
    """Whether it follows each build of the table by itself."""
