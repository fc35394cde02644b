"""
What a run of `dropped_files` does: take what lies in the folder of an inbox, or refuse it and say why.

The order of its effects makes it safe to be killed anywhere: the copy first, then the partition, then the request, and
only then is the file moved. A file that is still there and was asked for already is moved, and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.audit import Effect, announced
from bedrock_assets.aws.regions import Places
from bedrock_assets.errors import BadDrop, StoreError
from bedrock_assets.inbox.accept import take_in
from bedrock_assets.inbox.files import Drop, list_drops, take_away
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.inbox.rejections import Refusals
from bedrock_assets.jobs.enqueue import request_for
from bedrock_assets.jobs.ledger import Entry, Ledger, State
from bedrock_assets.jobs.partitions import register_shard
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import Lane

INBOX_TAG = "bedrock_assets/inbox"
"""On runs that the sensor launches to take files: the inbox."""


@dataclass
class Taken:
    """What became of the files that a run looked at, each with a word on it."""

    files: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)


@dataclass
class Taker:
    """One pass over the folder of an inbox."""

    context: dg.AssetExecutionContext
    inbox: Inbox
    places: Places

    def __post_init__(self) -> None:
        self.store = self.places.store
        self.ledger, self.refusals = Ledger(self.inbox.spec.name), Refusals(self.inbox.spec.name)
        self.ledger.refresh(self.context.instance)
        self.refusals.refresh(self.context.instance)
        self.taken = Taken()

    def take(self, chosen: Mapping[str, str] | None, given_up: Mapping[str, str]) -> Taken:
        """
        Take the files of the folder.

        Args:
            chosen: Plain names and etags of those to look into, as they were when somebody looked before; None for
                all that are old enough.
            given_up: Plain names and etags of those to refuse, because they could not be taken for long.
        """
        for drop in list_drops(self.store, self.inbox.spec.dropped_to):
            if self.refusals.reason(drop) is not None:
                continue
            if not (self._is_old(drop) if chosen is None else chosen.get(drop.plain) == drop.etag):
                self.taken.waiting[drop.shown] = "it has changed of late, or was not looked at twice yet"
            elif drop.fault:
                self._refuse(drop, drop.fault)
            elif given_up.get(drop.plain) == drop.etag:
                self._refuse(drop, "runs that were to take it have failed again and again; see those of this asset")
            else:
                self._try(drop)
        return self.taken

    def _is_old(self, drop: Drop) -> bool:
        return (datetime.now(UTC) - drop.modified_at).total_seconds() >= self.inbox.spec.settle_s

    def _try(self, drop: Drop) -> None:
        try:
            told = self._take(drop)
        except BadDrop as error:
            self._refuse(drop, str(error))
        except StoreError as error:
            self.context.log.warning(f"{drop.shown} is left for later: {error}")
            self.taken.waiting[drop.shown] = str(error)
        else:
            self.context.log.info(f"{drop.shown}: {told}")
            self.taken.files[drop.shown] = told

    def _take(self, drop: Drop) -> str:
        """
        Raises:
            BadDrop: It is not to be sent.
            StoreError: It has changed meanwhile, or the store cannot be read or written.
        """
        entry = self.ledger.entries.get(drop.key)
        if entry is not None and entry.request.raw_revision == drop.revision:
            self._move(drop)
            return "was asked for already"
        self._require_free(drop, entry)
        shard = take_in(self.inbox, self.store, drop, self._duplicate_of)
        register_shard(self.context.instance, self.inbox.spec.name, drop.key)
        request = request_for(self.context, self.inbox, self.places, self.ledger, shard)
        self.places.used_by(self.inbox.spec.targets).stage([request] if request.lane is Lane.BATCH else [])
        with announced(Effect.RECORD, State.REQUESTED):
            self.context.log_event(self.ledger.record(request, State.REQUESTED))
        self.ledger.entries[drop.key] = Entry(State.REQUESTED, request, 0)
        self._move(drop)
        return f"{shard.n_records:,} records, attempt {request.attempt}, {request.lane}"

    def _require_free(self, drop: Drop, entry: Entry | None) -> None:
        """
        Raises:
            BadDrop: Another file of that name is under way, or has answers that would be overwritten.
        """
        if entry is None:
            return
        if entry.state.is_open:
            raise BadDrop(f"a file of that name is under way, see partition {drop.key}; wait, or rename it")
        if self._has_answers(entry):
            raise BadDrop(
                f"a file of that name is processed already, see {self.store.path(self.inbox.folder(drop.key))}; "
                "rename it, or move that folder away first"
            )

    def _duplicate_of(self, fingerprint: str) -> str | None:
        """Where the same records are under way, or have answers."""
        for key, entry in self.ledger.entries.items():
            if entry.request.fingerprint != fingerprint:
                continue
            if entry.state.is_open:
                return f"are under way as partition {key}"
            if self._has_answers(entry):
                return f"have answers in {self.store.path(self.inbox.folder(key))}"
        return None

    def _has_answers(self, entry: Entry) -> bool:
        request = entry.request
        outputs = outputs_key(request.pipeline, request.shard, request.folder)
        return entry.state is State.ANSWERED and self.store.exists(outputs)

    def _move(self, drop: Drop) -> None:
        """Put the file where its answers are to be, unless another one has taken its place."""
        take_away(self.store, self.inbox.spec.dropped_to, drop, f"{self.inbox.folder(drop.key)}/{drop.name}")

    def _refuse(self, drop: Drop, reason: str) -> None:
        with announced(Effect.RECORD, "refused"):
            self.context.log_event(self.refusals.record(drop, reason))
        self.context.log.warning(f"{drop.shown} is refused and left where it is: {reason}")
        self.taken.refused[drop.shown] = reason


def is_taken_elsewhere(context: dg.AssetExecutionContext, inbox: str) -> bool:
    """Whether an earlier run that takes files of the inbox is under way: two at once could both take a duplicate."""
    started = takers(context.instance, inbox, [DagsterRunStatus.STARTED])
    return bool(started) and started[0].run_id != context.run.run_id


def takers(instance: DagsterInstance, inbox: str, statuses: Sequence[DagsterRunStatus]) -> list[dg.DagsterRun]:
    """The runs of these statuses that take an inbox's files, the first first; people launch some, without our tags."""
    key = dg.AssetKey([inbox, "dropped_files"])
    records = sorted(instance.get_run_records(RunsFilter(statuses=list(statuses))), key=lambda r: r.storage_id)
    runs = [record.dagster_run for record in records]
    return [run for run in runs if run.tags.get(INBOX_TAG) == inbox or key in (run.asset_selection or ())]
