"""What a sink is: a place that keeps the table a second time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from bedrock_assets.errors import ConfigError, StoreConflict, panics_are_errors
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.changes import Changes, found_changes
from bedrock_assets.sinks.rows import SinkRows
from bedrock_assets.storage.keys import sink_lock_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.publish_lock import PublishLock
from bedrock_assets.storage.store import Store

Setting = TypeVar("Setting")
TRIES = 3
"""How often a change is made anew, because somebody else has changed the place meanwhile."""


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
        """
        Write and delete; all at once where the place can.

        Raises:
            ChangedMeanwhile: The rows there are not those any more whose marks were read.
        """

    def forget(self) -> None:
        """Remove a table that was made for this write, if it is empty; nothing where a transaction does so."""
        return


class ChangedMeanwhile(StoreConflict):
    """Somebody else has changed the place of a sink since its marks were read."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} was changed by somebody else while this run was working; materialize it again. Nothing was "
            "written over"
        )


def turn(store: Store, pipeline: Pipeline, asset: str) -> PublishLock:
    """
    Take the right to write to a sink, for places that do not keep two runs apart themselves.

    Raises:
        StoreConflict: Another run takes it at the same moment.
    """
    name = pipeline.spec.name
    lock = PublishLock(store, sink_lock_key(name, asset), f"{name}/{asset}")
    lock.take()
    return lock


def until_unchanged(attempt: Callable[[], Sent]) -> Sent:
    """
    Read, compare and write anew if somebody else, such as another pipeline, has changed the place meanwhile.

    Raises:
        ChangedMeanwhile: It was changed each time.
    """
    for _ in range(TRIES - 1):
        with suppress(ChangedMeanwhile):
            return attempt()
    return attempt()


def send(target: Target, rows: SinkRows) -> Sent:
    """Write to a sink what has changed since it was written last."""
    where = f"{target.address} cannot be written"
    with _forgotten(target), panics_are_errors(where), found_changes(rows, target.marks()) as changes:
        if changes:
            try:
                target.write(changes)
            except Exception:
                if changes.failure:  # drivers turn what a stream of rows raises into errors of their own
                    raise changes.failure from None
                raise
        n_rows = changes.n_written + changes.n_unchanged
        return Sent(target.address, n_rows, changes.n_written, changes.n_gone, changes.n_unchanged)


@contextmanager
def _forgotten(target: Target) -> Generator[None]:
    """After a failed write there is no table that was not there before."""
    try:
        yield
    except Exception:
        with suppress(Exception):  # the failure is what has to be told; an empty table does no harm
            target.forget()
        raise


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
