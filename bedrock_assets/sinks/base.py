"""What a sink is: a place that keeps the table a second time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.changes import Changes, found_changes
from bedrock_assets.sinks.rows import SinkRows
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store


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
    more: Mapping[str, str | int] = field(default_factory=dict)
    """Further metadata, such as the version; `url` is one that people open."""

    @property
    def n_unchanged(self) -> int:
        """Rows that were in the sink as they are."""
        return self.n_rows - self.n_written


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


def send(target: Target, rows: SinkRows, *, n_rows: int | None = None) -> Sent:
    """
    Write to a sink what has changed since it was written last.

    Args:
        n_rows: Rows of the table that belong into the sink, if not all.
    """
    with found_changes(rows, target.marks()) as changes:
        if changes:
            target.write(changes)
        n_rows = rows.publication.manifest.n_rows if n_rows is None else n_rows
        return Sent(target.address, n_rows, changes.n_written, changes.n_gone)


Publish = Callable[[Store, Pipeline, TableManifest], Sent]
"""Makes the place that the pipeline's spec names equal to the table."""


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
