"""A year in production, each kind of day once: no job paid twice or stopped, no row lost or beside another's answer."""

from pathlib import Path

import pytest
from dagster import DagsterRunStatus, RunsFilter

from bedrock_assets.jobs.ledger import Ledger
from tests.campaigns.site import ASSETS, deployed
from tests.campaigns.waits import N_SHARDS, wait_for_jobs, wait_for_table
from tests.labs.short import SHORT

pytestmark = pytest.mark.slow

PAUSE_S = 75 if SHORT else 120
"""Longer than Dagster waits for a code server by default."""


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


@pytest.mark.parametrize("process", ["code"] if SHORT else ["code", "daemon", "emulator"])
def test_a_process_stands_still(tmp_path: Path, process: str) -> None:
    """A process that is paused while jobs run, as on a machine out of breath, comes back to all of them."""
    with deployed(tmp_path, N_SHARDS, speed=10) as made:
        shards = made.ingest()
        backfill = made.launch(shards)
        wait_for_jobs(made)
        made.pause(process, PAUSE_S)
        wait_for_table(made)
        assert made.end_of(backfill) in ("COMPLETED_SUCCESS", "FAILED")
        made.judge(N_SHARDS)


@pytest.mark.parametrize(("n_launches", "n_runs"), [(1, 1), (4, 2)] if SHORT else [(1, 4), (4, 4), (20, 4)])
def test_launches_take_all_run_slots(tmp_path: Path, n_launches: int, n_runs: int) -> None:
    """As many runs wait as there are slots, or more: all backfills complete, with nobody cancelling anything."""
    names = [f"calls{i}" for i in range(n_launches)]
    with deployed(tmp_path, 2, speed=60, names=names, n_runs=n_runs, n_slots=4) as made:
        shards = {name: made.ingest(name) for name in names}
        backfills = [made.launch(shards[name], name) for name in names]
        assert {made.end_of(backfill) for backfill in backfills} == {"COMPLETED_SUCCESS"}
        for name in names:
            made.judge(2, name)
        with made.instance() as instance:
            ledger = Ledger(names[0])
            ledger.refresh(instance)
            assert not ledger.open_entries
            assert made.materialized(ASSETS[-1], names[0]) == 1
