"""
Dagster's event log as the record of what was asked for and what came of it.

A request, a submission, a failure and a withdrawal are observations of a `batch_outputs` partition; an answer is its
materialization. Nothing else is kept: the log is read once from the start and then only forward, and a process that
lost its memory reads it again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dagster as dg
from dagster import DagsterInstance, EventRecordsResult

from bedrock_assets.campaign import Request

PAGE = 1000
OVERLAP_S = 300
"""Events this recent are read again: on PostgreSQL one with a lower id can become visible after a higher one."""


class State(StrEnum):
    """What the log says of a shard."""

    REQUESTED = "requested"
    SUBMITTED = "submitted"
    ANSWERED = "answered"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"

    @property
    def is_open(self) -> bool:
        """Whether the shard still waits for answers."""
        return self in (State.REQUESTED, State.SUBMITTED)


@dataclass(frozen=True)
class Entry:
    """The latest that the log says of a shard."""

    state: State
    request: Request
    storage_id: int
    job_arn: str | None = None
    message: str | None = None


@dataclass
class Ledger:
    """The log's view of one pipeline's shards."""

    pipeline: str
    entries: dict[str, Entry] = field(default_factory=dict)
    searched: set[str] = field(default_factory=set)
    """`Request.identity` of requests for which all jobs ever were looked through."""
    _after: dict[str, int] = field(default_factory=dict)
    _storage: str = ""

    @property
    def asset_key(self) -> dg.AssetKey:
        """The asset whose partitions the shards are."""
        return dg.AssetKey([self.pipeline, "batch_outputs"])

    @property
    def open_entries(self) -> list[Entry]:
        """Shards that wait for answers."""
        return [entry for entry in self.entries.values() if entry.state.is_open]

    def refresh(self, instance: DagsterInstance) -> None:
        """Read what is new in *instance*'s log; all of it, the first time."""
        storage = _identity(instance)
        if storage != self._storage:
            self.entries, self.searched, self._after, self._storage = {}, set(), {}, storage
        events: list[tuple[int, float, dg.AssetObservation | dg.AssetMaterialization, str]] = []
        for name, fetch in (("o", instance.fetch_observations), ("m", instance.fetch_materializations)):
            events += self._read(name, fetch)
        for storage_id, _, event, run_id in sorted(events, key=lambda event: event[0]):
            self._apply(storage_id, event, run_id)

    def record(self, request: Request, state: State, **facts: str) -> dg.AssetObservation:
        """The observation to log for a *state* of a request."""
        return dg.AssetObservation(
            self.asset_key,
            partition=request.shard,
            description=f"attempt {request.attempt} {state}",
            metadata={
                "state": state.value,
                "fingerprint": request.fingerprint,
                "attempt": request.attempt,
                "n_records": request.n_records,
                "prompts": request.prompts,
                "request_id": request.storage_id,
                "asked_by_run": request.run_id,
                "backfill_id": request.backfill_id or "",
                **facts,
            },
        )

    def _read(
        self, name: str, fetch: Callable[..., EventRecordsResult]
    ) -> list[tuple[int, float, dg.AssetObservation | dg.AssetMaterialization, str]]:
        after, found, cursor = self._after.get(name), [], None
        while True:
            page = fetch(
                dg.AssetRecordsFilter(asset_key=self.asset_key, after_storage_id=after),
                limit=PAGE,
                cursor=cursor,
                ascending=True,
            )
            for record in page.records:
                event = record.asset_observation or record.asset_materialization
                if event is not None and event.partition is not None:
                    found.append((record.storage_id, record.timestamp, event, record.run_id))
            if not page.has_more:
                break
            cursor = page.cursor
        if found:
            settled = found[-1][1] - OVERLAP_S
            self._after[name] = max((i for i, at, _, _ in found if at < settled), default=after or 0) or 0
        return found

    def _apply(self, storage_id: int, event: dg.AssetObservation | dg.AssetMaterialization, run_id: str) -> None:
        facts = {name: value.value for name, value in event.metadata.items()}
        shard, former = event.partition or "", self.entries.get(event.partition or "")
        if former and former.storage_id >= storage_id:
            return
        if isinstance(event, dg.AssetMaterialization):
            state = State.ANSWERED
        elif "state" in facts:
            state = State(str(facts["state"]))
        else:
            return  # somebody else's observation of the asset
        request = self._request(shard, facts, run_id, storage_id)
        if state is not State.REQUESTED:
            if former is None or not _is_news_of(former.request, state, request, facts.get("request_id")):
                return
            request = former.request
        self.entries[shard] = Entry(state, request, storage_id, _text(facts, "job_arn"), _text(facts, "message"))

    def _request(self, shard: str, facts: Mapping[str, Any], run_id: str, storage_id: int) -> Request:
        return Request(
            pipeline=self.pipeline,
            shard=shard,
            fingerprint=str(facts.get("fingerprint", "")),
            attempt=int(facts.get("attempt", 1)),
            prompts=str(facts.get("prompts", "")),
            n_records=int(facts.get("n_records", 0)),
            run_id=_text(facts, "asked_by_run") or run_id,
            backfill_id=_text(facts, "backfill_id"),
            storage_id=storage_id,
        )


def _is_news_of(current: Request, state: State, told: Request, request_id: object) -> bool:
    """
    Whether an event is about the *current* request, and not about one that it has replaced.

    A job belongs to whoever asks for the same content. An end does not: the run that brought it carries the backfill of
    the request it was launched for, and only a run of its own counts for the backfill of the current one.
    """
    if (current.fingerprint, current.attempt) != (told.fingerprint, told.attempt):
        return False
    return state is State.SUBMITTED or request_id == current.storage_id


def _identity(instance: DagsterInstance) -> str:
    storage_id: Callable[[], str] | None = getattr(instance.run_storage, "get_run_storage_id", None)
    return storage_id() if storage_id else instance.root_directory


def _text(facts: Mapping[str, Any], name: str) -> str | None:
    value = facts.get(name)
    return str(value) if value else None
