"""A year in production, each kind of day once: no job paid twice or stopped, no row lost or beside another's answer."""

from pathlib import Path

import pytest
from dagster import DagsterRunStatus, RunsFilter

from tests.campaigns.site import deployed
from tests.campaigns.waits import N_SHARDS, wait_for_jobs, wait_for_table

pytestmark = pytest.mark.slow


def test_a_deploy_under_a_daemon_that_gives_up(tmp_path: Path) -> None:
    """Dagster fails the backfill and cancels its runs: the jobs go on, the others are submitted, the table is built."""
    with deployed(tmp_path, N_SHARDS, speed=10, patient=False) as made:
        shards = made.ingest()
        backfill = made.launch(shards)
        wait_for_jobs(made)
        made.write("[this is no YAML")
        made.deploy()
        made.until(lambda: made.status(backfill) == "FAILING")
        run_id = made.terminate_run(backfill)
        assert "nobody has cancelled its shards" in made.log_of(run_id)
        made.write()
        made.deploy()
        wait_for_table(made)
        assert made.status(backfill) == "FAILED"
        made.judge(N_SHARDS)


def test_a_typo_under_a_daemon_that_waits(tmp_path: Path) -> None:
    """While the code location does not load the backfill waits, and completes; its run is not cancelled."""
    with deployed(tmp_path, N_SHARDS, speed=10) as made:
        shards = made.ingest()
        backfill = made.launch(shards)
        wait_for_jobs(made)
        made.write("[this is no YAML")
        made.deploy()
        made.until(lambda: not any(job.status.in_flight for job in made.jobs()))
        made.write()
        made.deploy()
        assert made.end_of(backfill) == "COMPLETED_SUCCESS"
        made.judge(N_SHARDS)


def test_runs_and_a_partition_are_deleted(tmp_path: Path) -> None:
    """All runs are wiped while jobs run, and a partition is deleted: the next launch adopts every job."""
    with deployed(tmp_path, N_SHARDS, speed=10) as made:
        shards = made.ingest()
        made.launch(shards)
        wait_for_jobs(made)
        with made.instance() as instance:
            for record in instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
                instance.report_run_failed(record.dagster_run, "wiped")
            instance.wipe()
            instance.delete_dynamic_partition("calls_shards", shards[0])
        made.until(lambda: not any(job.status.in_flight for job in made.jobs()))
        assert made.ingest() == shards
        assert made.end_of(made.launch(shards)) == "COMPLETED_SUCCESS"
        made.judge(N_SHARDS)
