"""The YAML is edited while jobs are in flight, and the edit undone: no job paid twice or stopped, no row lost."""

from pathlib import Path

import pytest

from tests.campaigns.definitions import spec_of
from tests.campaigns.site import Deployment, deployed
from tests.campaigns.waits import N_SHARDS, wait_for_jobs

pytestmark = pytest.mark.slow

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"


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
