"""
Which requests a person has withdrawn.

A person cancels a run or a backfill. Dagster's daemon cancels runs too: those of a backfill that it fails, for example
because a code location did not load for a minute. A job is paid, so only a person's cancel may stop it. What tells the
two apart is the backfill: it is `CANCELING`, then `CANCELED`, after a person's cancel, and `FAILING`, then `FAILED`,
after the daemon's (Dagster 1.13, `dagster/_daemon/backfill.py`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.jobs.collect_runs import BACKFILL_TAG
from bedrock_assets.jobs.dagster_internals import BulkActionStatus

_CANCELLED = [DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING]
_FAILED = (BulkActionStatus.FAILING, BulkActionStatus.FAILED)


@dataclass(frozen=True)
class Cancellations:
    """What became of the runs that made requests."""

    by_person: frozenset[str] = frozenset()
    """Ids of runs that a person has cancelled, alone or with their backfill."""
    failed_backfills: frozenset[str] = frozenset()
    """Ids of backfills whose runs Dagster has cancelled of its own."""

    @classmethod
    def read(cls, instance: DagsterInstance, run_ids: Collection[str]) -> "Cancellations":
        """Look up the runs of *run_ids* and their backfills."""
        if not run_ids:
            return cls()
        records = instance.get_run_records(RunsFilter(run_ids=sorted(run_ids), statuses=_CANCELLED))
        backfills = {record.dagster_run.run_id: record.dagster_run.tags.get(BACKFILL_TAG) for record in records}
        known = {one: instance.get_backfill(one) for one in backfills.values() if one}
        failed = {backfill_id for backfill_id, found in known.items() if found is None or found.status in _FAILED}
        by_person = {run_id for run_id, backfill_id in backfills.items() if backfill_id not in failed}
        return cls(frozenset(by_person), frozenset(failed))
