"""A cancel by a person withdraws; one by Dagster's daemon stops no paid job."""

from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.jobs.collect_runs import BACKFILL_TAG
from bedrock_assets.jobs.ledger import RequestState
from tests.labs.dispatch import Lab, open_lab

BACKFILL = "abcdefgh"


def add_backfill(instance: DagsterInstance, status: BulkActionStatus = BulkActionStatus.REQUESTED) -> PartitionBackfill:
    """A backfill as the instance keeps it."""
    backfill = PartitionBackfill(
        backfill_id=BACKFILL, status=status, from_failure=False, tags={}, backfill_timestamp=0.0, asset_selection=[]
    )
    instance.add_backfill(backfill)
    return backfill


def ask(lab: Lab) -> PartitionBackfill:
    """Launch all shards by a backfill; one of two has a job then."""
    lab.ingest()
    lab.format()
    backfill = add_backfill(lab.instance)
    assert lab.materialize("batch_outputs", tags={**lab.span, BACKFILL_TAG: BACKFILL})
    lab.tick()
    return backfill


def cancel(lab: Lab) -> None:
    """Cancel the run that made the requests, as a person and the daemon do alike."""
    run_id = next(iter(lab.ledger.entries.values())).request.run_id
    run = lab.instance.get_run_by_id(run_id)
    assert run
    lab.instance.report_run_canceled(run)


@pytest.mark.parametrize("status", [BulkActionStatus.FAILING, BulkActionStatus.FAILED])
def test_a_backfill_that_dagster_fails_stops_nothing(tmp_path: Path, status: BulkActionStatus) -> None:
    """Its jobs go on, the shards that wait are submitted, all are collected, and a note says what to do."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        backfill = ask(lab)
        lab.instance.update_backfill(backfill.with_status(status))
        cancel(lab)
        tick = lab.tick()
        assert [job.status.in_flight for job in lab.jobs()] == [True]
        assert any(f"backfill {BACKFILL} was ended by Dagster and not by a person" in note for note in tick.notes)
        lab.wait_for_jobs()
        launched = lab.tick_only().collect_runs.run_requests
        assert launched
        assert all(BACKFILL_TAG not in run.tags for run in launched), "Dagster would cancel them with the backfill"
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2


@pytest.mark.parametrize("change", [{"status": BulkActionStatus.CANCELING}, {"status": BulkActionStatus.CANCELED}, {}])
def test_a_person_withdraws(tmp_path: Path, change: dict[str, Any]) -> None:
    """The backfill is cancelled, or its run alone: jobs in flight are stopped, and no other shard is submitted."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        backfill = ask(lab)
        if change:
            lab.instance.update_backfill(backfill.with_status(change["status"]))
        cancel(lab)
        lab.tick()
        lab.until(lambda: all(job.status is JobStatus.STOPPED for job in lab.jobs()))
        lab.tick()
        assert len(lab.jobs()) == 1
        assert set(lab.states.values()) == {RequestState.WITHDRAWN}
