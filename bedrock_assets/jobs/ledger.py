"""
Dagster's event log as the record of requests and what became of them.

A request, a submission, a failure and a withdrawal are observations of a `batch_outputs` partition; an answer is its
materialization. There is no other state: the log is read once from the start and then only forward, and a process that
lost its memory reads it again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.config.asset_attributes import asset_path
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.canary import CanaryResult
from bedrock_assets.jobs.event_log import EventLogReader, LoggedEvent, WriteObservation, write_observation
from bedrock_assets.jobs.shard_request import Request, RequestStatus
from bedrock_assets.jobs.staleness import Staleness
from bedrock_assets.storage.manifests import InferenceMode


class RequestState(StrEnum):
    """The last event of a shard."""

    REQUESTED = "requested"
    ROUTED = "routed"
    """About to be submitted to one of several Regions, logged first: after a crash it is looked for only there."""
    SUBMITTED = "submitted"
    ANSWERED = "answered"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"

    @property
    def is_open(self) -> bool:
        """Whether the shard still waits for answers."""
        return self in (RequestState.REQUESTED, RequestState.ROUTED, RequestState.SUBMITTED)


Told = str | dg.UrlMetadataValue
"""What an event says beside its request."""


@dataclass(frozen=True)
class Entry:
    """The latest state of a shard in the log."""

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
    key_prefix: tuple[str, ...] = ()
    entries: dict[str, Entry] = field(default_factory=dict)
    """By shard."""
    replaced: dict[str, Entry] = field(default_factory=dict)
    """By `Request.identity`, open requests whose shard was requested again with other prompts."""
    searched: set[str] = field(default_factory=set)
    """`Request.identity` of requests for which all jobs ever were searched."""
    refused: set[str] = field(default_factory=set)
    """`Request.identity` of requests whose job was refused."""
    canary: tuple[tuple[str, ...], CanaryResult] | None = None
    """What the canary's answers showed when they were read last, and of what that holds."""

    @classmethod
    def of(cls, spec: WorkloadSpec) -> "Ledger":
        """The ledger of a pipeline or an inbox."""
        return cls(spec.name, spec.key_prefix)

    def __post_init__(self) -> None:
        self.staleness = Staleness(self.pipeline, self.key_prefix)
        self._reader = EventLogReader(self.asset_key, observations=True)

    @property
    def asset_key(self) -> dg.AssetKey:
        """The asset whose partitions are the shards."""
        return dg.AssetKey(asset_path(self.pipeline, "batch_outputs", self.key_prefix))

    @property
    def open_entries(self) -> list[Entry]:
        """Shards that wait for answers."""
        return [entry for entry in self.entries.values() if entry.state.is_open]

    def refresh(self, instance: DagsterInstance) -> None:
        """Read what is new in *instance*'s log; all of it, the first time and after events were deleted."""
        self.staleness.refresh(instance)
        read = self._reader.read(instance)
        if read.from_start:
            self.entries, self.replaced, self.searched, self.refused = {}, {}, set(), set()
        for event in read.events:
            self._apply(event)

    def last_event(self, request: Request) -> Entry:
        """The latest state of an open or replaced request."""
        return self.replaced.get(request.identity) or self.entries[request.shard]

    def status_of(self, request: Request) -> RequestStatus:
        """Whether a request is still about the current prompts of its shard."""
        return RequestStatus.STALE if request.identity in self.replaced else self.staleness.status_of(request)

    @property
    def n_on_hold(self) -> int:
        """Requests without a job whose prompts are older than the dataset."""
        waiting = [entry.request for entry in self.open_entries if entry.job_arn is None]
        return sum(self.status_of(request) is RequestStatus.ON_HOLD for request in waiting)

    def log(self, write: WriteObservation, request: Request, state: RequestState, **metadata: Told) -> None:
        """Write a *state* of a request, with more *metadata*."""
        write_observation(write, self.observation(request, state, **metadata), state)

    def observation(self, request: Request, state: RequestState, **metadata: Told) -> dg.AssetObservation:
        """The observation of a *state* of a request; `_request` reads it back."""
        return dg.AssetObservation(
            self.asset_key,
            partition=request.shard,
            description=f"attempt {request.attempt} {state}",
            metadata={
                "state": state.value,
                **metadata,
                "n_records": request.n_records,
                "attempt": request.attempt,
                "fingerprint": request.fingerprint,
                "prompts": request.prompts,
                "request_id": request.storage_id,
                "requested_by_run": request.run_id,
                "backfill_id": request.backfill_id or "",
                "inference_mode": request.inference_mode.value,
                "former_jobs": json.dumps(request.former_jobs),
                **({"former_targets": json.dumps(request.former_where)} if any(request.former_where) else {}),
                **({"target": request.where} if request.where else {}),
                "raw_revision": request.raw_revision,
                "blocked_by": f"{request.blocked_by:x}",
                **({} if request.estimated_usd is None else {"estimated_usd": request.estimated_usd}),
                "last_attempt": request.last_attempt,
                **({"configuration": request.configuration} if request.configuration else {}),
                **({"folder": request.folder} if request.folder else {}),
            },
        )

    def _apply(self, logged: LoggedEvent) -> None:
        metadata, shard = logged.metadata, logged.event.partition
        former = self.entries.get(shard or "")
        if shard is None or (former and former.storage_id >= logged.storage_id):
            return
        if isinstance(logged.event, dg.AssetMaterialization):
            state = RequestState.ANSWERED
        elif "state" in metadata:
            state = RequestState(str(metadata["state"]))
        else:
            return  # somebody else's observation of the asset
        request = self._request(shard, metadata, logged)
        if state is not RequestState.REQUESTED:
            if former is None or not _is_about(former.request, state, request, metadata.get("request_id")):
                return
            request = replace(former.request, where=request.where or former.request.where)
        else:
            request = replace(request, where=request.where or self._where_of(request))
            if former and former.state.is_open and former.request.fingerprint != request.fingerprint:
                self.replaced[former.request.identity] = former
        arn, message = _text(metadata, "job_arn"), _text(metadata, "message")
        self.entries[shard] = Entry(state, request, logged.storage_id, arn, message, logged.timestamp)

    def _where_of(self, request: Request) -> str:
        """Where an earlier request for the same content went, unless it was refused there: a job may be there."""
        former = self.entries.get(request.shard)
        entries = [entry for entry in self.replaced.values() if entry.request.shard == request.shard]
        entries += [former] if former and former.state is not RequestState.FAILED else []
        same = [entry.request.where for entry in entries if entry.request.content == request.content]
        return next(filter(None, same), "")

    def _request(self, shard: str, metadata: Mapping[str, Any], logged: LoggedEvent) -> Request:
        return Request(
            pipeline=self.pipeline,
            shard=shard,
            fingerprint=str(metadata.get("fingerprint", "")),
            attempt=int(metadata.get("attempt", 1)),
            prompts=str(metadata.get("prompts", "")),
            n_records=int(metadata.get("n_records", 0)),
            run_id=_text(metadata, "requested_by_run") or logged.run_id,
            backfill_id=_text(metadata, "backfill_id"),
            storage_id=logged.storage_id,
            inference_mode=InferenceMode(_text(metadata, "inference_mode") or InferenceMode.BATCH),
            former_jobs=tuple(json.loads(_text(metadata, "former_jobs") or "[]")),
            former_where=tuple(json.loads(_text(metadata, "former_targets") or "[]")),
            where=_text(metadata, "target") or "",
            raw_revision=_text(metadata, "raw_revision") or "",
            estimated_usd=_number(metadata, "estimated_usd"),
            blocked_by=int(_text(metadata, "blocked_by") or "0", 16),
            last_attempt=int(metadata.get("last_attempt", 1)),
            requested_at=logged.timestamp,
            configuration=_text(metadata, "configuration") or "",
            folder=_text(metadata, "folder") or "",
        )


def _is_about(current: Request, state: RequestState, logged: Request, request_id: object) -> bool:
    """
    Whether an event is about the *current* request, and not about one that it has replaced.

    A job belongs to whoever requests the same content. An end does not: the run that brought it carries the backfill of
    the request it was launched for, and only a run of its own counts for the backfill of the current one.
    """
    if (current.fingerprint, current.attempt) != (logged.fingerprint, logged.attempt):
        return False
    return state in (RequestState.ROUTED, RequestState.SUBMITTED) or str(request_id) == str(current.storage_id)


def _number(metadata: Mapping[str, Any], name: str) -> float | None:
    value = metadata.get(name)
    return None if value is None else float(value)


def _text(metadata: Mapping[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    return str(value) if value else None
