"""Dagster's event log: reads what is new about an asset, and writes what this package has to say."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dagster as dg
from dagster import DagsterInstance, EventRecordsResult

from bedrock_assets.audit import Effect, announced

PAGE_SIZE = 1000
OVERLAP_S = 60
"""Events this recent are read again: on PostgreSQL one with a lower id can become visible after a higher one."""

AssetEvent = dg.AssetObservation | dg.AssetMaterialization
WriteObservation = Callable[[dg.AssetObservation], object]
"""`context.log_event` in a run, `instance.report_runless_asset_event` elsewhere."""


def write_observation(write: WriteObservation, observation: dg.AssetObservation, subject: str) -> None:
    """
    Write an observation.

    Args:
        subject: What it records, for observers of `Effect.RECORD`.
    """
    with announced(Effect.RECORD, subject):
        write(observation)


def materialize(
    asset: str, metadata: Mapping[str, Any], version: str | None = None
) -> Iterator[dg.MaterializeResult[Any]]:
    """Hand the materialization of *asset* to Dagster, which has written it when the iterator goes on."""
    with announced(Effect.MATERIALIZE, asset):
        yield dg.MaterializeResult(metadata=metadata, data_version=None if version is None else dg.DataVersion(version))


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
    """Reads an asset's events: all of them the first time, then only new ones."""

    key: dg.AssetKey
    observations: bool = False
    """Whether observations are read beside materializations."""
    _after: dict[str, int] = field(default_factory=dict)

    def read(self, instance: DagsterInstance) -> list[LoggedEvent]:
        """
        Events since the last call, in the order of the log; some of the latest ones are given again.

        Raises:
            Exception: What Dagster's storage raises when it cannot be read.
        """
        events = self._read("materializations", instance.fetch_materializations)
        if self.observations:
            events += self._read("observations", instance.fetch_observations)
        return sorted(events, key=lambda event: event.storage_id)

    def _read(self, name: str, fetch: Callable[..., EventRecordsResult]) -> list[LoggedEvent]:
        after, cursor = self._after.get(name), None
        events: list[LoggedEvent] = []
        while True:
            page = fetch(
                dg.AssetRecordsFilter(asset_key=self.key, after_storage_id=after),
                limit=PAGE_SIZE,
                cursor=cursor,
                ascending=True,
            )
            for record in page.records:
                event = record.asset_observation or record.asset_materialization
                if event is not None:
                    events.append(LoggedEvent(record.storage_id, record.timestamp, record.run_id, event))
            if not page.has_more:
                break
            cursor = page.cursor
        if events:
            settled_at = max(events[-1].timestamp, time.time()) - OVERLAP_S
            settled = [event.storage_id for event in events if event.timestamp < settled_at]
            self._after[name] = max(settled, default=after or 0) or 0
        return events
