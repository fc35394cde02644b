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

DROP_TAG = "bedrock_assets/drop"
"""On the same runs: the first of their files, by which it is counted how often one was tried."""
MAX_RUNTIME_TAGS = {"dagster/max_runtime": str(900)}
"""Seconds after which Dagster's run monitoring fails a run: one that was killed would be under way for ever."""
MOST_WATCHED = 2000
"""Files that are looked at, the oldest first, so that the cursor stays small; the others wait in the folder."""
MOST_FILES, MOST_BYTES = 200, 5_000_000_000
"""A run takes no more than one of these, and at least one file, so that it ends well before it is taken for dead."""


class FolderScan(BaseModel):
    """What earlier looks saw, by plain name: etag, and when it was first seen, in seconds since 1970."""

    seen: dict[str, tuple[str, float]] = {}

    @classmethod
    def of(cls, cursor: str | None) -> "FolderScan":
        """Those of a cursor; none if it is not of this kind."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()

    def then(self, inbox_files: Sequence[InboxFile], now: float) -> "FolderScan":
        """With a look at *drops* now."""
        seen: dict[str, tuple[str, float]] = {}
        for inbox_file in inbox_files:
            etag, since = self.seen.get(inbox_file.plain, ("", now))
            seen[inbox_file.plain] = (
                inbox_file.etag,
                since if (inbox_file.plain in self.seen and etag == inbox_file.etag) else now,
            )
        return FolderScan(seen=seen)

    def settled(self, inbox_file: InboxFile, now: float, settle_s: float) -> bool:
        """Whether an earlier look saw the same, and it has not changed for *settle_s*."""
        etag, since = self.seen.get(inbox_file.plain, (None, now))
        return etag == inbox_file.etag and now - min(since, inbox_file.modified_at.timestamp()) >= settle_s


@dataclass(frozen=True)
class Watcher:
    """One look at the folder of an inbox."""

    instance: DagsterInstance
    inbox: Inbox
    now: datetime

    def choose(self, settled: Sequence[InboxFile]) -> dg.RunRequest | None:
        """The run to launch for files that have settled; None if there is nothing to do, or it has to wait."""
        if not settled or self.under_way:
            return None
        tries = self._tries(settled)
        fresh = [inbox_file for inbox_file in settled if _identity(inbox_file) not in tries]
        again = [
            inbox_file
            for inbox_file in settled
            if _identity(inbox_file) in tries and not tries[_identity(inbox_file)].busy
        ]
        chosen = _fitting(fresh) or again[:1]
        if not chosen:
            return None
        had = tries.get(_identity(chosen[0]), RunAttempts())
        etags = {inbox_file.plain: inbox_file.etag for inbox_file in chosen}
        config = {"files": etags, "given_up": etags if had.exhausted else {}}
        return dg.RunRequest(
            run_key=f"{self.inbox.spec.name}/{_identity(chosen[0])}/{had.n_ended}",
            job_name=take_job(self.inbox.spec.name),
            run_config={"ops": {f"{self.inbox.spec.name}__dropped_files": {"config": config}}},
            tags={INBOX_TAG: self.inbox.spec.name, DROP_TAG: _identity(chosen[0]), **MAX_RUNTIME_TAGS},
        )

    @cached_property
    def under_way(self) -> str:
        """The run that takes files just now, empty if there is none."""
        return next((run.run_id for run in take_runs(self.instance, self.inbox.spec.name, ACTIVE_STATUSES)), "")

    def _tries(self, inbox_files: Sequence[InboxFile]) -> dict[str, RunAttempts]:
        """By identity, for those of *drops* that were the first of a run, which left them there."""
        ended: dict[str, list[float]] = {}
        filters = RunsFilter(tags={DROP_TAG: [_identity(inbox_file) for inbox_file in inbox_files[:MOST_FILES]]})
        for record in self.instance.get_run_records(filters):
            at = record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
            ended.setdefault(record.dagster_run.tags[DROP_TAG], []).append(at)
        return {identity: backoff(self.now, times) for identity, times in ended.items()}


def build_inbox_sensor(
    inbox: Inbox, interval_s: int, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor of one inbox; jobs are submitted by the dispatcher, as everybody's are."""
    spec, rejections = inbox.spec, Rejections(inbox.spec.name)
    job = dg.define_asset_job(
        take_job(spec.name),
        selection=[rejections.asset_key],
        description=f"Takes files from folder {spec.dropped_to}.",
    )

    @dg.sensor(
        name=f"{spec.name}_files_sensor",
        jobs=[job],
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description=f"Watches folder `{spec.dropped_to}` of the store, and launches a run that takes what has settled.",
    )
    def inbox_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SensorResult | dg.SkipReason:
        try:
            inbox_files = list_files(store.open(), spec.dropped_to)
        except (StoreError, ConfigError) as error:
            return dg.SkipReason(f"nothing done in this tick: {error}")
        rejections.refresh(context.instance)
        now = clock()
        open_drops = [inbox_file for inbox_file in inbox_files if rejections.reason(inbox_file) is None][:MOST_WATCHED]
        looks = FolderScan.of(context.cursor)
        settled = [inbox_file for inbox_file in open_drops if looks.settled(inbox_file, now.timestamp(), spec.settle_s)]
        watcher = Watcher(context.instance, inbox, now)
        asked = watcher.choose(settled)
        cursor = looks.then(open_drops, now.timestamp()).model_dump_json()
        if asked is not None:
            return dg.SensorResult(run_requests=[asked], cursor=cursor)
        busy = f" for run {watcher.under_way}" if settled and watcher.under_way else ""
        return dg.SensorResult(skip_reason=_told(inbox_files, open_drops, settled, busy, rejections), cursor=cursor)

    return inbox_sensor


def take_job(inbox: str) -> str:
    """Name of the Dagster job whose runs take an inbox's files."""
    return f"{inbox}_take"


def _told(
    inbox_files: Sequence[InboxFile],
    open_drops: Sequence[InboxFile],
    settled: Sequence[InboxFile],
    busy: str,
    rejections: Rejections,
) -> str:
    refused = [
        f"{inbox_file.shown} ({rejections.reason(inbox_file)})"
        for inbox_file in inbox_files
        if rejections.reason(inbox_file) is not None
    ]
    listed = f": {'; '.join(refused[:3])}{' ...' if len(refused) > 3 else ''}" if refused else ""  # noqa: PLR2004 - a few
    return f"{len(open_drops) - len(settled)} settling, {len(settled)} waiting{busy}, {len(refused)} refused{listed}"


def _fitting(inbox_files: Sequence[InboxFile]) -> list[InboxFile]:
    """The first of *drops* that one run takes."""
    chosen, n_bytes = list[InboxFile](), 0
    for inbox_file in inbox_files[:MOST_FILES]:
        n_bytes += inbox_file.n_bytes
        if chosen and n_bytes > MOST_BYTES:
            break
        chosen.append(inbox_file)
    return chosen


def _identity(inbox_file: InboxFile) -> str:
    """Names a file as it is, in tags and run keys."""
    return hashlib.sha256(
        f"{inbox_file.plain}\n{inbox_file.etag}\n{inbox_file.modified_at.isoformat()}".encode()
    ).hexdigest()[:24]
