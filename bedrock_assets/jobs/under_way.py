"""What is in progress in a Dagster instance at one moment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from bedrock_assets.jobs.collect_runs import ACTIVE_STATUSES, RunAttempts, backoff
from bedrock_assets.jobs.dagster_internals import BulkActionsFilter, BulkActionStatus, PartitionBackfill

_ACTIVE = (*ACTIVE_STATUSES, DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class UnderWay:
    """Runs and backfills that are in progress in the instance."""

    instance: DagsterInstance
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def runs(self) -> Sequence[DagsterRun]:
        """Runs that have not ended."""
        return self.instance.get_runs(RunsFilter(statuses=list(_ACTIVE)))

    @cached_property
    def backfills(self) -> Sequence[PartitionBackfill]:
        """Backfills that launch runs."""
        return self.instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))

    def makes(self, keys: Collection[dg.AssetKey]) -> bool:
        """Whether a run makes one of these assets."""
        return any(set(keys) & set(run.asset_selection or ()) for run in self.runs)

    def will_make(self, keys: Collection[dg.AssetKey]) -> bool:
        """Whether a backfill makes one of these assets, now or later."""
        return any(set(keys) & set(backfill.asset_selection or ()) for backfill in self.backfills)

    def attempts(self, tag: str, value: str) -> RunAttempts:
        """The runs that bear a tag of this value: those that ended, and whether it is too early for another."""
        records = self.instance.get_run_records(RunsFilter(tags={tag: value}))
        is_active = any(record.dagster_run.status in _ACTIVE for record in records)
        return backoff(self.now, [record.end_time for record in records if record.end_time], active=is_active)
