"""
The sensor of an inbox: looks at the folder, and launches a run for files that have settled.

A file has settled when it is the same as at an earlier look, and has been so for a while. What the sensor has to
remember of its looks is in its cursor; what became of files is in the event log.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg
from dagster import DagsterInstance, RunsFilter
from pydantic import BaseModel, ValidationError

from bedrock_assets.errors import ConfigError, StoreError
from bedrock_assets.inbox.files import InboxFile, list_files
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.inbox.rejections import Rejections
from bedrock_assets.inbox.take import INBOX_TAG, take_runs
from bedrock_assets.jobs.collect_runs import ACTIVE_STATUSES, RunAttempts, backoff
from bedrock_assets.resources.store import StoreResource

FILE_TAG = "bedrock_assets/drop"
"""On the same runs: the first of their files, by which the runs for a file are counted."""
TAKE_RUN_TAGS = {"dagster/max_runtime": str(900)}
"""Seconds after which Dagster's run monitoring fails a run: a killed run would stay in progress for ever."""
MAX_WATCHED = 2000
"""Files that are watched, the oldest first, so that the cursor stays small; the others wait in the folder."""
SHOWN_FILES = 3
BUSY = RunAttempts(busy=True)
MAX_FILES, MAX_BYTES = 200, 5_000_000_000
"""A run takes no more than one of these, and at least one file, so that it ends well before `TAKE_RUN_TAGS`."""


class FolderScan(BaseModel):
    """What earlier looks at the folder saw, by plain name: etag, and when it was first seen, in seconds since 1970."""

    seen: dict[str, tuple[str, float]] = {}

    @classmethod
    def of(cls, cursor: str | None) -> "FolderScan":
        """The scan in a sensor's cursor; an empty one if the cursor holds something else."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()

    def updated(self, files: Sequence[InboxFile], now: float) -> "FolderScan":
        """The scan after a look at *files* now."""
        seen: dict[str, tuple[str, float]] = {}
        for file in files:
            etag, since = self.seen.get(file.plain, ("", now))
            seen[file.plain] = (file.etag, since if etag == file.etag else now)
        return FolderScan(seen=seen)

    def has_settled(self, file: InboxFile, now: float, settle_s: float) -> bool:
        """Whether an earlier look saw the same file, and it has not changed for *settle_s*."""
        etag, since = self.seen.get(file.plain, (None, now))
        return etag == file.etag and now - min(since, file.modified_at.timestamp()) >= settle_s


@dataclass(frozen=True)
class Watcher:
    """One look at the folder of an inbox."""

    instance: DagsterInstance
    inbox: Inbox
    now: datetime

    def choose(self, settled: Sequence[InboxFile]) -> dg.RunRequest | None:
        """The run to launch for files that have settled; None if there is nothing to do, or it has to wait."""
        if not settled or self.active_run:
            return None
        attempts = self._attempts(settled)
        new = [file for file in settled if _identity(file) not in attempts]
        again = [file for file in settled if not attempts.get(_identity(file), BUSY).busy]
        chosen = _first_batch(new) or again[:1]
        if not chosen:
            return None
        former = attempts.get(_identity(chosen[0]), RunAttempts())
        etags = {file.plain: file.etag for file in chosen}
        config = {"files": etags, "given_up": etags if former.exhausted else {}}
        return dg.RunRequest(
            run_key=f"{self.inbox.spec.name}/{_identity(chosen[0])}/{former.n_ended}",
            job_name=take_job(self.inbox.spec.name),
            run_config={"ops": {self.inbox.spec.op_of("dropped_files"): {"config": config}}},
            tags={INBOX_TAG: self.inbox.spec.name, FILE_TAG: _identity(chosen[0]), **TAKE_RUN_TAGS},
        )

    @cached_property
    def active_run(self) -> str:
        """Id of the run that is taking files now, empty if there is none."""
        return next((run.run_id for run in take_runs(self.instance, self.inbox.spec.name, ACTIVE_STATUSES)), "")

    def _attempts(self, files: Sequence[InboxFile]) -> dict[str, RunAttempts]:
        """By identity, for those of *files* that were the first of a run which left them there."""
        ended: dict[str, list[float]] = {}
        filters = RunsFilter(tags={FILE_TAG: [_identity(file) for file in files[:MAX_FILES]]})
        for record in self.instance.get_run_records(filters):
            at = record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
            ended.setdefault(record.dagster_run.tags[FILE_TAG], []).append(at)
        return {identity: backoff(self.now, times) for identity, times in ended.items()}


def build_inbox_sensor(
    inbox: Inbox, interval_s: int, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor of one inbox; the dispatcher submits its jobs, as those of pipelines."""
    spec, rejections = inbox.spec, Rejections.of(inbox.spec)
    job = dg.define_asset_job(
        take_job(spec.name),
        selection=[rejections.asset_key],
        description=f"Takes files from folder {spec.dropped_to}.",
        executor_def=dg.in_process_executor,
    )

    @dg.sensor(
        name=f"{spec.name}_files_sensor",
        jobs=[job],
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description=f"Watches folder `{spec.dropped_to}` of the store, and launches a run for files that have settled.",
    )
    def inbox_sensor(
        context: dg.SensorEvaluationContext, bedrock_batch_store: StoreResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            files = list_files(bedrock_batch_store.open(), spec.dropped_to)
        except (StoreError, ConfigError) as error:
            return dg.SkipReason(f"nothing done in this tick: {error}")
        rejections.refresh(context.instance)
        now, scan = clock(), FolderScan.of(context.cursor)
        pending = [file for file in files if rejections.reason(file) is None][:MAX_WATCHED]
        settled = [file for file in pending if scan.has_settled(file, now.timestamp(), spec.settle_s)]
        watcher = Watcher(context.instance, inbox, now)
        run_request = watcher.choose(settled)
        cursor = scan.updated(pending, now.timestamp()).model_dump_json()
        if run_request is not None:
            return dg.SensorResult(run_requests=[run_request], cursor=cursor)
        waiting = f"{len(settled)} waiting" + (
            f" for run {watcher.active_run}" if settled and watcher.active_run else ""
        )
        counts = f"{len(pending) - len(settled)} settling, {waiting}, {_describe_refused(files, rejections)}"
        return dg.SensorResult(skip_reason=counts, cursor=cursor)

    return inbox_sensor


def take_job(inbox: str) -> str:
    """Name of the Dagster job whose runs take an inbox's files."""
    return f"{inbox}_take"


def _describe_refused(files: Sequence[InboxFile], rejections: Rejections) -> str:
    """How many files are refused, and the reasons of the first ones."""
    refused = [f"{file.shown} ({reason})" for file in files if (reason := rejections.reason(file)) is not None]
    first, others = refused[:SHOWN_FILES], refused[SHOWN_FILES:]
    return f"{len(refused)} refused" + (f": {'; '.join(first)}{' ...' if others else ''}" if refused else "")


def _first_batch(files: Sequence[InboxFile]) -> list[InboxFile]:
    """The first of *files* that one run takes."""
    chosen, n_bytes = list[InboxFile](), 0
    for file in files[:MAX_FILES]:
        n_bytes += file.n_bytes
        if chosen and n_bytes > MAX_BYTES:
            break
        chosen.append(file)
    return chosen


def _identity(file: InboxFile) -> str:
    """Names a file as it is, in tags and run keys."""
    return hashlib.sha256(f"{file.plain}\n{file.etag}\n{file.modified_at.isoformat()}".encode()).hexdigest()[:24]
