"""Reads what is new about an asset in Dagster's event log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dagster as dg
from dagster import DagsterInstance, EventRecordsResult

PAGE = 1000
OVERLAP_S = 60
"""Events this recent are read again: on PostgreSQL one with a lower id can become visible after a higher one."""

AssetEvent = dg.AssetObservation | dg.AssetMaterialization


class LoggedEvent(NamedTuple):
    """One event, and where it stands in the log."""

    storage_id: int
    timestamp: float
    run_id: str
    event: AssetEvent

    @property
    def facts(self) -> Mapping[str, Any]:
        """The event's metadata, as plain values."""
        return {name: value.value for name, value in self.event.metadata.items()}


@dataclass
class EventLogReader:
    """The end of an asset's log: all of it the first time, then only what is new."""

    key: dg.AssetKey
    observations: bool = False
    """Whether observations are read beside materializations."""
    _after: dict[str, int] = field(default_factory=dict)

    def read(self, instance: DagsterInstance) -> list[LoggedEvent]:
        """
        Events since the last call in the order of the log, some of the latest ones again.

        Raises:
            Exception: What Dagster's storage raises when it cannot be read.
        """
        told = self._read("materializations", instance.fetch_materializations)
        if self.observations:
            told += self._read("observations", instance.fetch_observations)
        return sorted(told, key=lambda one: one.storage_id)

    def _read(self, name: str, fetch: Callable[..., EventRecordsResult]) -> list[LoggedEvent]:
        after, found, cursor = self._after.get(name), [], None
        while True:
            page = fetch(
                dg.AssetRecordsFilter(asset_key=self.key, after_storage_id=after),
                limit=PAGE,
                cursor=cursor,
                ascending=True,
            )
            for record in page.records:
                event = record.asset_observation or record.asset_materialization
                if event is not None:
                    found.append(LoggedEvent(record.storage_id, record.timestamp, record.run_id, event))
            if not page.has_more:
                break
            cursor = page.cursor
        if found:
            settled = max(found[-1].timestamp, time.time()) - OVERLAP_S
            self._after[name] = max((t.storage_id for t in found if t.timestamp < settled), default=after or 0) or 0
        return found
