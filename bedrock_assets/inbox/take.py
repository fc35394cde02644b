"""
What a run of `dropped_files` does: take the files in the folder of an inbox, or refuse them and say why.

The order of its effects makes it safe to be killed anywhere: the copy first, then the partition, then the request, and
only then is the file moved. A file that is still there and was requested already is moved, and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.asset_attributes import is_asset
from bedrock_assets.errors import InvalidInboxFile, RetiredModel, StoreError
from bedrock_assets.families import require_living
from bedrock_assets.inbox.accept import accept_file
from bedrock_assets.inbox.files import InboxFile, list_files, move_away
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.inbox.rejections import Rejections
from bedrock_assets.jobs.enqueue import Launch, stage
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState
from bedrock_assets.jobs.partitions import register_shard
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store

INBOX_TAG = "bedrock_assets/inbox"
"""On runs that the sensor launches to take files: the inbox."""


@dataclass
class TakenFiles:
    """The files that a run looked at, by their names; each with what was done, or why nothing was."""

    taken: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)


@dataclass
class FileIntake:
    """One pass over the folder of an inbox."""

    context: dg.AssetExecutionContext
    inbox: Inbox
    regions: Regions

    def __post_init__(self) -> None:
        self.launch = Launch(self.context, self.inbox.workload, self.regions)
        self.rejections = Rejections.of(self.inbox.spec)
        self.rejections.refresh(self.context.instance)
        self.files = TakenFiles()

    @property
    def store(self) -> Store:
        """Where the folder is."""
        return self.regions.store

    @cached_property
    def ledger(self) -> Ledger:
        """The requests so far."""
        return self.launch.ledger

    def take(self, chosen: Mapping[str, str] | None, given_up: Mapping[str, str]) -> TakenFiles:
        """
        Take the files of the folder.

        Args:
            chosen: Plain names and etags of the files to look into, as an earlier look saw them; None for all that are
                old enough.
            given_up: Plain names and etags of files to refuse, because they could not be taken for long.
        """
        for file in list_files(self.store, self.inbox.spec.dropped_to):
            if self.rejections.reason(file) is not None:
                continue
            if not (self._is_old(file) if chosen is None else chosen.get(file.plain) == file.etag):
                self.files.waiting[file.shown] = "it changed recently, or was not seen twice yet"
            elif file.fault:
                self._refuse(file, file.fault)
            elif given_up.get(file.plain) == file.etag:
                self._refuse(file, "the runs that were to take it failed again and again; see the runs of this asset")
            else:
                self._try(file)
        return self.files

    def _is_old(self, file: InboxFile) -> bool:
        return (datetime.now(UTC) - file.modified_at).total_seconds() >= self.inbox.spec.settle_s

    def _try(self, file: InboxFile) -> None:
        try:
            message = self._take(file)
        except InvalidInboxFile as error:
            self._refuse(file, str(error))
        except (StoreError, RetiredModel) as error:
            self.context.log.warning(f"{file.shown} is left for later: {error}")
            self.files.waiting[file.shown] = str(error)
        else:
            self.context.log.info(f"{file.shown}: {message}")
            self.files.taken[file.shown] = message

    def _take(self, file: InboxFile) -> str:
        """
        Raises:
            InvalidInboxFile: It is not to be sent.
            StoreError: It has changed meanwhile, or the store cannot be read or written.
            RetiredModel: A model of the inbox is Legacy or has ended its life.
        """
        entry = self.ledger.entries.get(file.key)
        if entry is not None and entry.request.raw_revision == file.revision:
            self._move(file)
            return "was requested already"
        self._require_free(file, entry)
        require_living(self.inbox.spec, datetime.now(UTC).date())
        shard = accept_file(self.inbox, self.store, file, self._duplicate_of)
        register_shard(self.context.instance, self.inbox.spec.name, file.key)
        request = self.launch.request_or_resume(shard)
        if request.inference_mode is InferenceMode.BATCH:
            stage(self.regions.used_by(self.inbox.spec.targets), [request])
        self.ledger.log(self.context.log_event, request, RequestState.REQUESTED)
        self.ledger.entries[file.key] = Entry(RequestState.REQUESTED, request, 0)
        self._move(file)
        renamed = f", {shard.n_renamed:,} of them with ids of ours, see column given_id" if shard.n_renamed else ""
        return f"{shard.n_records:,} records, attempt {request.attempt}, {request.inference_mode}{renamed}"

    def _require_free(self, file: InboxFile, entry: Entry | None) -> None:
        """
        Raises:
            InvalidInboxFile: Another file of that name is in progress, or has answers that would be overwritten.
        """
        if entry is None:
            return
        if entry.state.is_open:
            raise InvalidInboxFile(
                f"a file of that name is in progress, see partition {file.key}; wait for it, or rename the file"
            )
        if self._has_answers(entry):
            raise InvalidInboxFile(
                f"a file of that name is processed already, see {self.store.path(self.inbox.folder(file.key))}; "
                "rename the file, or move that folder away first"
            )

    def _duplicate_of(self, fingerprint: str) -> str | None:
        """Where the same records are in progress, or have answers."""
        for key, entry in self.ledger.entries.items():
            if entry.request.fingerprint != fingerprint:
                continue
            if entry.state.is_open:
                return f"are in progress as partition {key}"
            if self._has_answers(entry):
                return f"have answers in {self.store.path(self.inbox.folder(key))}"
        return None

    def _has_answers(self, entry: Entry) -> bool:
        request = entry.request
        outputs = outputs_key(request.pipeline, request.shard, request.folder)
        return entry.state is RequestState.ANSWERED and self.store.exists(outputs)

    def _move(self, file: InboxFile) -> None:
        """Put the file where its answers will be, unless another one has taken its place."""
        move_away(self.store, self.inbox.spec.dropped_to, file, f"{self.inbox.folder(file.key)}/{file.name}")

    def _refuse(self, file: InboxFile, reason: str) -> None:
        self.rejections.log(self.context.log_event, file, reason)
        self.context.log.warning(f"{file.shown} is refused and left where it is: {reason}")
        self.files.refused[file.shown] = reason


def has_earlier_run(context: dg.AssetExecutionContext, inbox: str) -> bool:
    """Whether an earlier run that takes files of the inbox is in progress: two at once could both take a duplicate."""
    started = take_runs(context.instance, inbox, [DagsterRunStatus.STARTED])
    return bool(started) and started[0].run_id != context.run.run_id


def take_runs(instance: DagsterInstance, inbox: str, statuses: Sequence[DagsterRunStatus]) -> list[dg.DagsterRun]:
    """The runs of these statuses that take an inbox's files, oldest first; people launch some, without our tags."""
    records = sorted(instance.get_run_records(RunsFilter(statuses=list(statuses))), key=lambda r: r.storage_id)
    runs = [record.dagster_run for record in records]
    return [run for run in runs if run.tags.get(INBOX_TAG) == inbox or _takes(run, inbox)]


def _takes(run: dg.DagsterRun, inbox: str) -> bool:
    return any(is_asset(key.path, inbox, "dropped_files") for key in run.asset_selection or ())
