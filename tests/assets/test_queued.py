"""A launched run that waits collects answers itself, where no run slot is left for the runs that are to do so."""

import threading
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.collect_runs import TAKEN_TAG
from bedrock_assets.jobs.ledger import RequestState
from tests.labs.dispatch import Lab, open_lab

CONFIG = {"ops": {"calls__batch_outputs": {"config": {"poll_s": 0.2, "queued_s": 0.5}}}}


def launch(lab: Lab) -> tuple[threading.Thread, list[bool]]:
    """Launch the first shard in a run that waits."""
    ended: list[bool] = []

    def run() -> None:
        result = dg.materialize(
            build_assets(lab.pipeline),
            selection=[dg.AssetKey(["calls", "batch_outputs"])],
            partition_key=lab.shards[0],
            instance=lab.instance,
            resources={"bedrock_batch_store": lab.store_resource, "bedrock_batch": lab.bedrock_resource},
            run_config=CONFIG,
            raise_on_error=False,
        )
        ended.append(result.success)

    thread = threading.Thread(target=run)
    thread.start()
    lab.until(lambda: bool(lab.states))
    return thread, ended


def queue(lab: Lab) -> str:
    """Put what the sensor launches into Dagster's queue, where no slot is free; returns the run's id."""
    (request,) = lab.tick_only().collect_runs.run_requests
    partition = {"dagster/partition": request.partition_key or ""}
    location = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="nowhere")
    run = dg.DagsterRun(
        "calls_collect",
        status=DagsterRunStatus.QUEUED,
        tags={**request.tags, **partition},
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "calls_collect"),
    )
    return lab.instance.add_run(run).run_id


def test_the_waiting_run_does_the_work_of_a_queued_one(tmp_path: Path) -> None:
    """It takes the run out of the queue, materializes the partition, and ends; the sensor launches no other."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ingest()
        lab.format(lab.shards[0])
        thread, ended = launch(lab)
        lab.tick_only()
        lab.wait_for_jobs()
        run_id = queue(lab)
        thread.join(60)
        assert ended == [True]
        assert lab.instance.get_run_by_id(run_id) is None
        assert lab.states == {lab.shards[0]: RequestState.ANSWERED}
        assert lab.tick_only().collect_runs.run_requests == []
        assert lab.outputs(lab.shards[0])["status"].to_list() == ["ok"] * 10
        (record,) = lab.instance.fetch_materializations(dg.AssetKey(["calls", "batch_outputs"]), limit=10).records
        assert record.asset_materialization
        assert record.asset_materialization.tags
        assert record.asset_materialization.tags["dagster/data_version"]
        (waiting,) = lab.instance.get_runs(RunsFilter(tags={TAKEN_TAG: ""}))
        assert record.run_id == waiting.run_id
        assert lab.materialize("joined_table")


def test_a_failure_is_the_partition_s_own(tmp_path: Path) -> None:
    """A job that failed fails its shard with Bedrock's own message, in the run that waits for it."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=Faults(fail_message="no permission")) as lab:
        lab.ingest()
        lab.format(lab.shards[0])
        thread, ended = launch(lab)
        lab.tick_only()
        lab.wait_for_jobs()
        queue(lab)
        thread.join(60)
        assert ended == [False]
        (entry,) = lab.ledger.entries.values() if lab.states else ()
        assert entry.state is RequestState.FAILED
        assert "no permission" in (entry.message or "")


def test_while_it_collects_no_other_run_is_launched(tmp_path: Path) -> None:
    """The tag that it bears at that moment counts as a run of the request."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask_in_runs()
        lab.tick_only()
        lab.wait_for_jobs()
        (request,) = lab.tick_only().collect_runs.run_requests
        assert lab.states
        (entry,) = lab.ledger.entries.values()
        waiting = dg.DagsterRun(job_name="x", status=DagsterRunStatus.STARTED, tags={TAKEN_TAG: entry.request.identity})
        lab.instance.add_run(waiting)
        assert request.partition_key == lab.shards[0]
        assert lab.tick_only().collect_runs.run_requests == []
