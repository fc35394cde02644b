"""Dagster's event log: reads what is new about an asset, and writes what this package has to say."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dagster as dg
from dagster import DagsterInstance, EventRecordsResult

from bedrock_assets.audit import Effect, announced

PAGE_SIZE = 1000
DATA_VERSION_TAG = "dagster/data_version"
OVERLAP_S = 60
"""Events this recent are read again: on PostgreSQL one with a lower id can become visible after a higher one."""

AssetEvent = dg.AssetObservation | dg.AssetMaterialization
WriteObservation = Callable[[dg.AssetObservation], object]
"""`context.log_event` in a run, `instance.report_runless_asset_event` elsewhere."""


def write_observation(emit: WriteObservation, observation: dg.AssetObservation, subject: str) -> None:
    """
    Write an observation.

    Args:
        subject: What it records, for observers of `Effect.RECORD`.
    """
    with announced(Effect.RECORD, subject):
        emit(observation)


def materialize(
    asset: str, metadata: Mapping[str, Any], version: str | None = None
) -> Iterator[dg.MaterializeResult[Any]]:
    """Hand the materialization of *asset* to Dagster, which has written it when the iterator goes on."""
    with announced(Effect.MATERIALIZE, asset):
        yield dg.MaterializeResult(metadata=metadata, data_version=None if version is None else dg.DataVersion(version))


def log_materialization(
    emit: Callable[[dg.AssetMaterialization], object],
    key: dg.AssetKey,
    partition: str | None,
    metadata: Mapping[str, Any],
    version: str,
) -> None:
    """
    Materialize a partition from a run that was launched for more than it; the backfill of that run counts it.

    Args:
        emit: The run's `context.log_event`; without a run, the instance's `report_runless_asset_event`.
        partition: None for an asset without partitions.
        version: Its data version.
    """
    with announced(Effect.MATERIALIZE, key.path[-1]):
        emit(dg.AssetMaterialization(key, partition=partition, metadata=metadata, tags={DATA_VERSION_TAG: version}))


class LoggedEvent(NamedTuple):
    """One event, and its position in the log."""

    storage_id: int
    timestamp: float
    """Seconds since 1970."""
    run_id: str
    event: AssetEvent

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The event's metadata, as plain values."""
        return {name: value.value for name, value in self.event.metadata.items()}


@dataclass
class EventLogReader:
    """
    Reads an asset's events: all of them the first time, then only new ones.

    Events are deleted with their run (by retention, in the UI, by `dagster run wipe`), and on SQLite their storage ids
    are then given again. So each read also reads again the last events that it has read before; if they are not there
    as they were, it begins anew.
    """

    key: dg.AssetKey
    observations: bool = False
    """Whether observations are read beside materializations."""
    _kinds: dict[str, "_Position"] = field(default_factory=dict)

    def read(self, instance: DagsterInstance) -> "LogRead":
        """
        Events since the last call, in the order of the log; some of the latest ones are given again.

        Raises:
            Exception: What Dagster's storage raises when it cannot be read.
        """
        try:
            events = self._read(instance)
            from_start = False
        except _LogChanged:
            self._kinds, from_start = {}, True
            events = self._read(instance)
        return LogRead(sorted(events, key=lambda event: event.storage_id), from_start)

    def _read(self, instance: DagsterInstance) -> list[LoggedEvent]:
        fetches = {"materializations": instance.fetch_materializations}
        fetches |= {"observations": instance.fetch_observations} if self.observations else {}
        return [
            event
            for kind, fetch in fetches.items()
            for event in self._kinds.setdefault(kind, _Position()).read(self.key, fetch)
        ]


class LogRead(NamedTuple):
    """What a reader has read."""

    events: list[LoggedEvent]
    from_start: bool
    """Whether the log has lost events that were read before, so that these are all that there are."""


class _LogChanged(Exception):
    """Events that were read before are gone, or are others."""


@dataclass
class _Position:
    """How far the events of one kind were read."""

    after: int | None = None
    last: dict[int, float] = field(default_factory=dict)
    """Storage ids and timestamps of the events after *after*, which are read again."""

    def read(self, key: dg.AssetKey, fetch: Callable[..., EventRecordsResult]) -> list[LoggedEvent]:
        """
        Raises:
            _LogChanged: The events that were read last are not there any more.
        """
        events = list(self._pages(key, fetch))
        if not self.last.items() <= {event.storage_id: event.timestamp for event in events}.items():
            raise _LogChanged
        if events:
            settled_at = max(events[-1].timestamp, time.time()) - OVERLAP_S
            settled = [event.storage_id for event in events if event.timestamp < settled_at]
            # The last settled event is read again with those after it.
            self.after = settled[-1] - 1 if settled else self.after
        self.last = {e.storage_id: e.timestamp for e in events if e.storage_id > (self.after or 0)}
        return events

    def _pages(self, key: dg.AssetKey, fetch: Callable[..., EventRecordsResult]) -> Iterator[LoggedEvent]:
        cursor = None
        while True:
            page = fetch(
                dg.AssetRecordsFilter(asset_key=key, after_storage_id=self.after),
                limit=PAGE_SIZE,
                cursor=cursor,
                ascending=True,
            )
            for record in page.records:
                event = record.asset_observation or record.asset_materialization
                if event is not None:
                    yield LoggedEvent(record.storage_id, record.timestamp, record.run_id, event)
            if not page.has_more:
                break
            cursor = page.cursor
