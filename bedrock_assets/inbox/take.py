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
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import InvalidInboxFile, StoreError
from bedrock_assets.inbox.accept import accept_file
from bedrock_assets.inbox.files import InboxFile, list_files, move_away
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.inbox.rejections import Rejections
from bedrock_assets.jobs.enqueue import request_or_resume
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState
from bedrock_assets.jobs.partitions import register_shard
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import InferenceMode

INBOX_TAG = "bedrock_assets/inbox"
"""On runs that the sensor launches to take files: the inbox."""


@dataclass
class TakenFiles:
    """What became of the files that a run looked at, each with a word on it."""

    files: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)


@dataclass
class FileIntake:
    """One pass over the folder of an inbox."""

    context: dg.AssetExecutionContext
    inbox: Inbox
    regions: Regions

    def __post_init__(self) -> None:
        self.store = self.regions.store
        self.ledger, self.rejections = Ledger(self.inbox.spec.name), Rejections(self.inbox.spec.name)
        self.ledger.refresh(self.context.instance)
        self.rejections.refresh(self.context.instance)
        self.taken = TakenFiles()

    def take(self, chosen: Mapping[str, str] | None, given_up: Mapping[str, str]) -> TakenFiles:
        """
        Take the files of the folder.

        Args:
            chosen: Plain names and etags of those to look into, as they were when somebody looked before; None for
                all that are old enough.
            given_up: Plain names and etags of those to refuse, because they could not be taken for long.
        """
        for inbox_file in list_files(self.store, self.inbox.spec.dropped_to):
            if self.rejections.reason(inbox_file) is not None:
                continue
            if not (self._is_old(inbox_file) if chosen is None else chosen.get(inbox_file.plain) == inbox_file.etag):
                self.taken.waiting[inbox_file.shown] = "it has changed of late, or was not looked at twice yet"
            elif inbox_file.fault:
                self._refuse(inbox_file, inbox_file.fault)
            elif given_up.get(inbox_file.plain) == inbox_file.etag:
                self._refuse(
                    inbox_file, "runs that were to take it have failed again and again; see those of this asset"
                )
            else:
                self._try(inbox_file)
        return self.taken

    def _is_old(self, inbox_file: InboxFile) -> bool:
        return (datetime.now(UTC) - inbox_file.modified_at).total_seconds() >= self.inbox.spec.settle_s

    def _try(self, inbox_file: InboxFile) -> None:
        try:
            told = self._take(inbox_file)
        except InvalidInboxFile as error:
            self._refuse(inbox_file, str(error))
        except StoreError as error:
            self.context.log.warning(f"{inbox_file.shown} is left for later: {error}")
            self.taken.waiting[inbox_file.shown] = str(error)
        else:
            self.context.log.info(f"{inbox_file.shown}: {told}")
            self.taken.files[inbox_file.shown] = told

    def _take(self, inbox_file: InboxFile) -> str:
        """
        Raises:
            InvalidInboxFile: It is not to be sent.
            StoreError: It has changed meanwhile, or the store cannot be read or written.
        """
        entry = self.ledger.entries.get(inbox_file.key)
        if entry is not None and entry.request.raw_revision == inbox_file.revision:
            self._move(inbox_file)
            return "was asked for already"
        self._require_free(inbox_file, entry)
        shard = accept_file(self.inbox, self.store, inbox_file, self._duplicate_of)
        register_shard(self.context.instance, self.inbox.spec.name, inbox_file.key)
        request = request_or_resume(self.context, self.inbox, self.regions, self.ledger, shard)
        self.regions.used_by(self.inbox.spec.targets).stage(
            [request] if request.inference_mode is InferenceMode.BATCH else []
        )
        with announced(Effect.RECORD, RequestState.REQUESTED):
            self.context.log_event(self.ledger.record(request, RequestState.REQUESTED))
        self.ledger.entries[inbox_file.key] = Entry(RequestState.REQUESTED, request, 0)
        self._move(inbox_file)
        return f"{shard.n_records:,} records, attempt {request.attempt}, {request.inference_mode}"

    def _require_free(self, inbox_file: InboxFile, entry: Entry | None) -> None:
        """
        Raises:
            InvalidInboxFile: Another file of that name is under way, or has answers that would be overwritten.
        """
        if entry is None:
            return
        if entry.state.is_open:
            raise InvalidInboxFile(
                f"a file of that name is under way, see partition {inbox_file.key}; wait, or rename it"
            )
        if self._has_answers(entry):
            raise InvalidInboxFile(
                f"a file of that name is processed already, see {self.store.path(self.inbox.folder(inbox_file.key))}; "
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
        return entry.state is RequestState.ANSWERED and self.store.exists(outputs)

    def _move(self, inbox_file: InboxFile) -> None:
        """Put the file where its answers are to be, unless another one has taken its place."""
        move_away(
            self.store, self.inbox.spec.dropped_to, inbox_file, f"{self.inbox.folder(inbox_file.key)}/{inbox_file.name}"
        )

    def _refuse(self, inbox_file: InboxFile, reason: str) -> None:
        with announced(Effect.RECORD, "refused"):
            self.context.log_event(self.rejections.record(inbox_file, reason))
        self.context.log.warning(f"{inbox_file.shown} is refused and left where it is: {reason}")
        self.taken.refused[inbox_file.shown] = reason


def is_taken_elsewhere(context: dg.AssetExecutionContext, inbox: str) -> bool:
    """Whether an earlier run that takes files of the inbox is under way: two at once could both take a duplicate."""
    started = take_runs(context.instance, inbox, [DagsterRunStatus.STARTED])
    return bool(started) and started[0].run_id != context.run.run_id


def take_runs(instance: DagsterInstance, inbox: str, statuses: Sequence[DagsterRunStatus]) -> list[dg.DagsterRun]:
    """The runs of these statuses that take an inbox's files, the first first; people launch some, without our tags."""
    key = dg.AssetKey([inbox, "dropped_files"])
    records = sorted(instance.get_run_records(RunsFilter(statuses=list(statuses))), key=lambda r: r.storage_id)
    runs = [record.dagster_run for record in records]
    return [run for run in runs if run.tags.get(INBOX_TAG) == inbox or key in (run.asset_selection or ())]
