"""A year in production, each kind of day once: no job paid twice or stopped, no row lost or beside another's answer."""

from pathlib import Path

import pytest
from dagster import DagsterRunStatus, RunsFilter

from bedrock_assets.jobs.ledger import Ledger
from tests.campaigns.definitions import spec_of
from tests.campaigns.site import ASSETS, Deployment, deployed
from tests.labs.short import SHORT

pytestmark = pytest.mark.slow

N_SHARDS = 4 if SHORT else 12
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PAUSE_S = 75 if SHORT else 120
"""Longer than Dagster waits for a code server by default."""


def wait_for_jobs(made: Deployment) -> None:
    """Wait until jobs are in flight and others still wait."""
    made.until(lambda: any(job.status.in_flight for job in made.jobs()))


def wait_for_table(made: Deployment) -> None:
    """Wait until the table is there."""
    made.until(lambda: made.materialized("joined_table") > 0)


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


def test_the_model_is_edited_and_the_edit_undone(tmp_path: Path) -> None:
    """Shards that wait are not sent to the new model; after the edit is undone they go where their prompts say."""
    with deployed(tmp_path, N_SHARDS, speed=10, n_slots=1) as made:
        shards = made.ingest()
        backfill = made.launch(shards)
        wait_for_jobs(made)
        made.specs[0]["model"] = SONNET
        made.write()
        made.deploy()
        made.until(lambda: not any(job.status.in_flight for job in made.jobs()))
        assert {job.model for job in made.jobs()}.isdisjoint({SONNET})
        made.specs[0]["model"] = spec_of("calls", tmp_path)["model"]
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


def judge_absence(made: Deployment, sent: set[str]) -> None:
    """Jobs of `calls`, which is not there, end and are named by `doctor`; no more of them are created."""
    made.until(lambda: not any(job.status.in_flight for job in made.jobs()))
    assert {job.name: job.status.value for job in made.jobs()} == dict.fromkeys(sent, "Completed")
    told = made.told_by_doctor()
    assert {line.split()[0] for line in told} == sent
    assert all("there is no pipeline calls here; add it again under this name" in line for line in told)


def test_a_pipeline_is_renamed_and_the_name_undone(tmp_path: Path) -> None:
    """Dagster fails the backfill, whose run goes on; the new name sends nothing, and the old name adopts every job."""
    with deployed(tmp_path, N_SHARDS, speed=10) as made:
        shards, before = made.ingest(), made.specs
        backfill = made.launch(shards)
        wait_for_jobs(made)
        made.edit([spec_of("calls", tmp_path) | {"name": "talks"}])
        made.until(lambda: made.status(backfill) == "FAILING")
        judge_absence(made, {job.name for job in made.jobs()})
        assert made.jobs("talks") == []
        made.edit(before)
        # The run of the first backfill still waits, too; what it collects would not count for the second.
        assert made.end_of(made.launch(shards)) == "COMPLETED_SUCCESS"
        assert made.end_of(backfill) == "FAILED"
        assert made.told_by_doctor() == []
        made.judge(N_SHARDS)


def test_a_pipeline_is_removed_and_added_again(tmp_path: Path) -> None:
    """Its backfill is failed and its run cancelled by Dagster; another pipeline goes on; a launch adopts every job."""
    with deployed(tmp_path, N_SHARDS, speed=10, names=("calls", "mails")) as made:
        shards, before = {name: made.ingest(name) for name in made.names}, made.specs
        backfills = {name: made.launch(shards[name], name) for name in made.names}
        wait_for_jobs(made)
        made.edit(made.specs[1:])
        made.until(lambda: made.status(backfills["calls"]) == "FAILING")
        assert "nobody has cancelled its shards" in made.log_of(made.terminate_run(backfills["calls"]))
        assert made.end_of(backfills["mails"]) == "COMPLETED_SUCCESS"
        judge_absence(made, {job.name for job in made.jobs()})
        made.edit(before)
        assert made.end_of(made.launch(shards["calls"])) == "COMPLETED_SUCCESS"
        assert made.told_by_doctor() == []
        for name in made.names:
            made.judge(N_SHARDS, name)


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
