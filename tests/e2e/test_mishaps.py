"""Runs that die, jobs that fail, backfills that are cancelled: on a real instance, with its daemon."""

import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
from dagster import DagsterRunStatus, RunsFilter

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.local.stack import SENSOR_INTERVAL_S
from tests.e2e.lab import Lab, lab

PIPELINE = "conversation_embeddings"
OUTPUTS = ["prompt_shards", "batch_outputs"]


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    """A lab with a slow emulator, so that there is time for a mishap: a job takes 300 emulated seconds."""
    with lab(tmp_path_factory.mktemp("mishap"), speed=getattr(request, "param", 20)) as opened:
        yield opened


@pytest.mark.slow
def test_killed_run_is_finished_by_the_sensor(made: Lab) -> None:
    """A run killed while it waits leaves a pipeline that the sensors finish, table included, with no job paid twice."""
    shards = made.materialize_raw(PIPELINE)
    backfill_id = made.backfill(PIPELINE, OUTPUTS, shards)
    run_id = made.launched_run(backfill_id)
    made.until(lambda: any(job.status.in_flight for job in made.jobs(PIPELINE)))
    made.kill_run(run_id)
    made.until(lambda: made.materialized(PIPELINE, "batch_outputs") == len(shards))
    made.until(lambda: made.materialized(PIPELINE, "joined_table") == 1)
    source, table = made.source(PIPELINE), made.table(PIPELINE)
    assert table.select(source.columns).equals(source)
    # Titan takes 50,000 characters; the few transcripts beyond are error rows.
    assert table["status"].to_list() == ["ok" if len(text) <= 50_000 else "error" for text in source["transcript"]]
    assert len(made.jobs(PIPELINE)) == len(shards)


@pytest.mark.slow
def test_stack_stopped_while_a_run_waits(tmp_path: Path) -> None:
    """Ctrl-C ends the run's process; the next start on the folder ends the run, and the backfill completes."""
    with suppress(KeyboardInterrupt), lab(tmp_path, speed=20) as made:
        assets = [*OUTPUTS, "joined_table"]
        made.launched_run(made.backfill(PIPELINE, assets, made.materialize_raw(PIPELINE)))
        made.until(lambda: any(job.status.in_flight for job in made.jobs(PIPELINE)))
        raise KeyboardInterrupt
    with lab(tmp_path, speed=20) as made:
        assert made.stack.note.startswith("the local stack was stopped while 1 run")
        (ended,) = made.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE]))
        status, counts = made.wait_for_backfill(ended.tags["dagster/backfill"])
        assert (status, counts["batch_outputs"]["failed"]) == ("COMPLETED_SUCCESS", 0)
        source, table = made.source(PIPELINE), made.table(PIPELINE)
        assert table.select(source.columns).equals(source)
        assert len(made.jobs(PIPELINE)) == counts["batch_outputs"]["targeted"]


@pytest.mark.slow
def test_failed_job_fails_its_partition_and_can_be_launched_again(made: Lab) -> None:
    """One failing job fails one partition with Bedrock's own message; launching it again is a new, single attempt."""
    shards = made.materialize_raw(PIPELINE)
    made.set_faults(only_names=f".*{shards[0]}.*", fail_message="Customer doesn't have permissions to invokeModel")
    status, counts = made.wait_for_backfill(made.backfill(PIPELINE, OUTPUTS, shards))
    assert status == "COMPLETED_FAILED"
    assert (counts["batch_outputs"]["materialized"], counts["batch_outputs"]["failed"]) == (1, 1)
    failed = made.instance.get_runs(RunsFilter(job_name=f"{PIPELINE}_collect", statuses=[DagsterRunStatus.FAILURE]))
    assert any("permissions to invokeModel" in message for run in failed for message in made.ui.failures(run.run_id))
    made.set_faults()
    status, _ = made.wait_for_backfill(made.backfill(PIPELINE, ["batch_outputs"], shards[:1]))
    assert status == "COMPLETED_SUCCESS"
    assert sorted(job.status for job in made.jobs(PIPELINE)) == [JobStatus.COMPLETED] * 2 + [JobStatus.FAILED]


@pytest.mark.slow
@pytest.mark.parametrize("made", [10], indirect=True)
def test_cancelled_run_withdraws_and_can_be_taken_up_again(made: Lab) -> None:
    """Cancelling stops the job in flight and submits nothing more; the next launch sends only what is unanswered."""
    made.instance.event_log_storage.set_concurrency_slots("bedrock_batch", 1)
    shards = made.materialize_raw(PIPELINE)
    run_id = made.launched_run(made.backfill(PIPELINE, OUTPUTS, shards))
    made.until(lambda: any(job.n_processed > 100 for job in made.jobs(PIPELINE)))
    made.cancel_run(run_id)
    made.until(lambda: [job.status for job in made.jobs(PIPELINE)] == [JobStatus.STOPPED])
    made.instance.event_log_storage.set_concurrency_slots("bedrock_batch", 2)
    time.sleep(4 * SENSOR_INTERVAL_S)
    assert len(made.jobs(PIPELINE)) == 1
    status, _ = made.wait_for_backfill(made.backfill(PIPELINE, ["batch_outputs"], shards))
    assert status == "COMPLETED_SUCCESS"
    first, *others = sorted(made.jobs(PIPELINE), key=lambda job: job.submitted_at)
    assert len(others) == 2
    assert 0 < first.n_success < first.n_total
    assert sum(job.n_success for job in (first, *others)) == made.outputs(PIPELINE)["status"].to_list().count("ok")
