"""What is known of the open requests before Bedrock is looked at: which of them are still to be served."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from dagster import DagsterInstance

from bedrock_assets.jobs.canary import canary_of, is_canary
from bedrock_assets.jobs.cancellations import Cancellations
from bedrock_assets.jobs.gate import OPEN_GATE, CanaryGate, canary_gate, take_queued_approval, waiting_for_approval
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.jobs.partitions import shards_of
from bedrock_assets.jobs.shard_request import Request, RequestStatus
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.store import Store
from bedrock_assets.units import counted

SERVED = (RequestStatus.WANTED, RequestStatus.ON_HOLD)


@dataclass
class OpenRequests:
    """The open requests of all pipelines and inboxes of a code location, in one tick."""

    instance: DagsterInstance
    workloads: Mapping[str, Workload]
    ledgers: Mapping[str, Ledger]
    store: Store
    _gates: dict[str, CanaryGate] = field(default_factory=dict)
    """By pipeline, what its canary says of the other shards."""

    @cached_property
    def all(self) -> list[Request]:
        """Requests that are open, and those that were replaced while they were open, each with its status."""
        return [replace(request, status=self._status_of(request)) for request in self._written]

    @cached_property
    def deleted(self) -> dict[str, Request]:
        """By `Request.identity`, requests to serve whose partition is no longer registered: no run can complete it."""
        names = {request.pipeline for request in self.all if request.status in SERVED}
        registered = {name: {*shards_of(self.instance, name)} for name in names}
        served = (request for request in self.all if request.status in SERVED)
        return {one.identity: one for one in served if one.shard not in registered[one.pipeline]}

    def gate(self, request: Request) -> CanaryGate:
        """Whether the request's canary lets it be sent."""
        workload, ledger = self.workloads[request.pipeline], self.ledgers[request.pipeline]
        if workload.canary is None or is_canary(request.shard):
            return OPEN_GATE
        if request.pipeline not in self._gates:
            canary = canary_of(request.shard)
            gate = canary_gate(self.store, workload, ledger, canary)
            if gate.for_approval and take_queued_approval(self.instance, self.store, workload, ledger, canary):
                gate = OPEN_GATE
            self._gates[request.pipeline] = gate
        return self._gates[request.pipeline]

    def notes_on_gates(self, pending: Sequence[Request]) -> list[str]:
        """How many of the *pending* requests wait for their canary, and how many for a person."""
        waiting = [request for request in pending if self.gate(request).waits]
        held = Counter(request.pipeline for request in waiting if self.gate(request).for_approval)
        n_behind_canary = len(waiting) - held.total()
        notes = [counted(n_behind_canary, "shard", "wait") + " for the canary"] if n_behind_canary else []
        return notes + [
            waiting_for_approval(n_shards, self.workloads[pipeline].spec) for pipeline, n_shards in sorted(held.items())
        ]

    def notes(self) -> list[str]:
        """What a person has to know or to do about requests that are not served as they are."""
        failed = sorted(self._cancellations.failed_backfills & {request.backfill_id for request in self.all})
        notes = [
            f"backfill {one} was ended by Dagster and not by a person: its jobs go on and are collected. Launch its "
            "partitions again to follow them; to give them up, use `bedrock-assets stop`"
            for one in failed
        ]
        notes += [
            f"{request.identity}: its partition was deleted. Its job, if it has one, goes on; add partition "
            f"{request.shard} again to collect its answers, or give it up with `bedrock-assets stop`"
            for request in self.deleted.values()
        ]
        return notes + self._notes_on_changes()

    def _notes_on_changes(self) -> list[str]:
        requests = [request for request in self.all if request.status is RequestStatus.RECONFIGURED]
        counts = Counter((request.pipeline, " and ".join(self._changed(request))) for request in requests)
        return [
            f"{counted(n_shards, 'shard')} of {pipeline} on hold: the pipeline has another {parts} than when the "
            "prompts were made. Materialize prompt_shards and launch them again, or undo the change. If the YAML is "
            "newer than this code location, reload it"
            for (pipeline, parts), n_shards in sorted(counts.items())
        ]

    @cached_property
    def _written(self) -> list[Request]:
        requests = [entry.request for ledger in self.ledgers.values() for entry in ledger.open_entries]
        return requests + [entry.request for ledger in self.ledgers.values() for entry in ledger.replaced.values()]

    @cached_property
    def _cancellations(self) -> Cancellations:
        return Cancellations.read(self.instance, {request.run_id for request in self._written})

    def _status_of(self, request: Request) -> RequestStatus:
        status = self.ledgers[request.pipeline].status_of(request)
        if status is RequestStatus.STALE:
            return status
        if request.run_id in self._cancellations.by_person:
            return RequestStatus.WITHDRAWN
        if self._changed(request):
            return RequestStatus.RECONFIGURED
        waits_for_canary = status is RequestStatus.WANTED and self.gate(request).waits
        return RequestStatus.ON_HOLD if waits_for_canary else status

    def _changed(self, request: Request) -> list[str]:
        return self.workloads[request.pipeline].changed_since(json.loads(request.configuration or "{}"))
