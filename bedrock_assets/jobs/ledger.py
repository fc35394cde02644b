"""
Dagster's event log as the record of what was asked for and what came of it.

A request, a submission, a failure and a withdrawal are observations of a `batch_outputs` partition; an answer is its
materialization. Nothing else is kept: the log is read once from the start and then only forward, and a process that
lost its memory reads it again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.jobs.event_log import EventLogReader, LoggedEvent
from bedrock_assets.jobs.request import Request, RequestStatus
from bedrock_assets.jobs.staleness import Staleness
from bedrock_assets.storage.manifests import InferenceMode


class RequestState(StrEnum):
    """What the log says of a shard."""

    REQUESTED = "requested"
    ROUTED = "routed"
    """About to be submitted somewhere, told before it is: after a crash it is looked for, and sent, only there."""
    SUBMITTED = "submitted"
    ANSWERED = "answered"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"

    @property
    def is_open(self) -> bool:
        """Whether the shard still waits for answers."""
        return self in (RequestState.REQUESTED, RequestState.ROUTED, RequestState.SUBMITTED)


@dataclass(frozen=True)
class Entry:
    """The latest that the log says of a shard."""

    state: RequestState
    request: Request
    storage_id: int
    job_arn: str | None = None
    message: str | None = None
    at: float = 0.0
    """Seconds since 1970."""


@dataclass
class Ledger:
    """The log's view of one pipeline's shards."""

    pipeline: str
    entries: dict[str, Entry] = field(default_factory=dict)
    replaced: dict[str, Entry] = field(default_factory=dict)
    """What was told of requests whose shard was asked for with other prompts before they were done, by identity."""
    searched: set[str] = field(default_factory=set)
    """`Request.identity` of requests for which all jobs ever were looked through."""
    refused: set[str] = field(default_factory=set)
    """`Request.identity` of requests whose job Bedrock refused."""
    _storage: str = ""

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.entries, self.replaced, self.searched, self.refused = {}, {}, set(), set()
        self.staleness = Staleness(self.pipeline)
        self._tail = EventLogReader(self.asset_key, observations=True)

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
        if (storage := _identity(instance)) != self._storage:
            self._start()
            self._storage = storage
        self.staleness.refresh(instance)
        for told in self._tail.read(instance):
            self._apply(told)

    def last_event(self, request: Request) -> Entry:
        """What was told last of an open or replaced request."""
        return self.replaced.get(request.identity) or self.entries[request.shard]

    def status_of(self, request: Request) -> RequestStatus:
        """Whether a request is still about the current prompts of its shard."""
        return RequestStatus.STALE if request.identity in self.replaced else self.staleness.status_of(request)

    def record(self, request: Request, state: RequestState, **facts: str) -> dg.AssetObservation:
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
                "inference_mode": request.inference_mode.value,
                "former_jobs": json.dumps(request.former_jobs),
                **({"former_targets": json.dumps(request.former_targets)} if any(request.former_targets) else {}),
                **({"target": request.target} if request.target else {}),
                "raw_revision": request.raw_revision,
                "blocked_by": f"{request.blocked_by:x}",
                **({} if request.estimated_usd is None else {"estimated_usd": request.estimated_usd}),
                "last_attempt": request.last_attempt,
                **({"folder": request.folder} if request.folder else {}),
                **facts,
            },
        )

    def _apply(self, told: LoggedEvent) -> None:
        facts, shard = told.facts, told.event.partition
        former = self.entries.get(shard or "")
        if shard is None or (former and former.storage_id >= told.storage_id):
            return
        if isinstance(told.event, dg.AssetMaterialization):
            state = RequestState.ANSWERED
        elif "state" in facts:
            state = RequestState(str(facts["state"]))
        else:
            return  # somebody else's observation of the asset
        request = self._request(shard, facts, told)
        if state is not RequestState.REQUESTED:
            if former is None or not _supersedes(former.request, state, request, facts.get("request_id")):
                return
            request = replace(former.request, target=request.target or former.request.target)
        else:
            request = replace(request, target=request.target or self._target_of(request))
            if former and former.state.is_open and former.request.fingerprint != request.fingerprint:
                self.replaced[former.request.identity] = former
        arn, message = _text(facts, "job_arn"), _text(facts, "message")
        self.entries[shard] = Entry(state, request, told.storage_id, arn, message, told.timestamp)

    def _target_of(self, request: Request) -> str:
        """Where an earlier request for the same content went, unless it was refused there: a job may be there."""
        former = self.entries.get(request.shard)
        told = [entry for entry in self.replaced.values() if entry.request.shard == request.shard]
        told += [former] if former and former.state is not RequestState.FAILED else []
        same = [e.request.target for e in told if e.request.content == request.content]
        return next(filter(None, same), "")

    def _request(self, shard: str, facts: Mapping[str, Any], told: LoggedEvent) -> Request:
        return Request(
            pipeline=self.pipeline,
            shard=shard,
            fingerprint=str(facts.get("fingerprint", "")),
            attempt=int(facts.get("attempt", 1)),
            prompts=str(facts.get("prompts", "")),
            n_records=int(facts.get("n_records", 0)),
            run_id=_text(facts, "asked_by_run") or told.run_id,
            backfill_id=_text(facts, "backfill_id"),
            storage_id=told.storage_id,
            inference_mode=InferenceMode(_text(facts, "inference_mode") or InferenceMode.BATCH),
            former_jobs=tuple(json.loads(_text(facts, "former_jobs") or "[]")),
            former_targets=tuple(json.loads(_text(facts, "former_targets") or "[]")),
            target=_text(facts, "target") or "",
            raw_revision=_text(facts, "raw_revision") or "",
            estimated_usd=_number(facts, "estimated_usd"),
            blocked_by=int(_text(facts, "blocked_by") or "0", 16),
            last_attempt=int(facts.get("last_attempt", 1)),
            asked_at=told.timestamp,
            folder=_text(facts, "folder") or "",
        )


def _supersedes(current: Request, state: RequestState, told: Request, request_id: object) -> bool:
    """
    Whether an event is about the *current* request, and not about one that it has replaced.

    A job belongs to whoever asks for the same content. An end does not: the run that brought it carries the backfill of
    the request it was launched for, and only a run of its own counts for the backfill of the current one.
    """
    if (current.fingerprint, current.attempt) != (told.fingerprint, told.attempt):
        return False
    return state in (RequestState.ROUTED, RequestState.SUBMITTED) or request_id == current.storage_id


def _identity(instance: DagsterInstance) -> str:
    storage_id: Callable[[], str] | None = getattr(instance.run_storage, "get_run_storage_id", None)
    return storage_id() if storage_id else instance.root_directory


def _number(facts: Mapping[str, Any], name: str) -> float | None:
    value = facts.get(name)
    return None if value is None else float(value)


def _text(facts: Mapping[str, Any], name: str) -> str | None:
    value = facts.get(name)
    return str(value) if value else None
