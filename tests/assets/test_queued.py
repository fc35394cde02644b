"""A launched run that waits collects answers itself, where no run slot is left for the runs that are to do so."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.collect_runs import BACKFILL_TAG, TAKEN_TAG
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
    return add_to_queue(lab, request)


def request_of(lab: Lab, index: int) -> dg.RunRequest:
    """The run that the sensor launches for a shard."""
    requests = lab.tick_only().collect_runs.run_requests
    return next(request for request in requests if request.partition_key == lab.shards[index])


def add_to_queue(lab: Lab, request: dg.RunRequest, backfill: Mapping[str, str] = MappingProxyType({})) -> str:
    """Put a run into Dagster's queue, with the tag of a *backfill*; its id."""
    partition = {"dagster/partition": request.partition_key or "", **backfill}
    run = queued_run("calls_collect").with_tags({**request.tags, **partition})
    return lab.instance.add_run(run).run_id


def queued_run(job: str, **settings: Any) -> dg.DagsterRun:
    """A run of a *job* that waits for a slot."""
    location = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="nowhere")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)
    return dg.DagsterRun(job, status=DagsterRunStatus.QUEUED, remote_job_origin=origin, **settings)


def test_the_waiting_run_does_the_work_of_a_queued_one(tmp_path: Path) -> None:
    """It takes the run out of the queue, materializes the partition, and ends; the sensor launches no other."""
    with open_lab(tmp_path, on_disk=True, n_rows=10, max_jobs=1) as lab:
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


@pytest.mark.parametrize("status", [DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE])
def test_another_backfill_s_work_is_left_to_it(tmp_path: Path, status: DagsterRunStatus) -> None:
    """As long as that has a run which waits: only a materialization by a run of its own counts for a backfill."""
    with open_lab(tmp_path, on_disk=True, n_rows=20, max_jobs=2) as lab:
        lab.ask()
        lab.tick_only()
        lab.wait_for_jobs()
        others = {BACKFILL_TAG: "others"}
        waiting = frozenset([dg.AssetKey(["calls", "batch_outputs"])])
        lab.instance.add_run(dg.DagsterRun(job_name="x", status=status, tags=others, asset_selection=waiting))
        # The oldest is the first to be looked at.
        left = add_to_queue(lab, request_of(lab, 1), others)
        before = lab.ledger.entries[lab.shards[0]].request.run_id
        thread, ended = launch(lab)
        lab.until(lambda: bool(lab.states) and lab.ledger.entries[lab.shards[0]].request.run_id != before)
        add_to_queue(lab, request_of(lab, 0))
        thread.join(60)
        assert ended == [True]
        is_left = status is DagsterRunStatus.STARTED
        assert (lab.instance.get_run_by_id(left) is not None) == is_left
        assert lab.states == {
            lab.shards[0]: RequestState.ANSWERED,
            lab.shards[1]: RequestState.SUBMITTED if is_left else RequestState.ANSWERED,
        }


def test_a_failure_is_the_partition_s_own(tmp_path: Path) -> None:
    """A job that failed fails its shard with Bedrock's own message, in the run that waits for it."""
    with open_lab(tmp_path, on_disk=True, n_rows=10, max_jobs=1, faults=Faults(fail_message="no permission")) as lab:
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
    with open_lab(tmp_path, on_disk=True, n_rows=10, max_jobs=1) as lab:
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


@pytest.mark.parametrize(
    ("selection", "is_ended"), [(["prompt_shards"], True), (["prompt_shards", "batch_outputs"], False)]
)
def test_it_makes_way_for_what_its_shards_wait_for(tmp_path: Path, selection: list[str], is_ended: bool) -> None:
    """A run that makes prompts anew gets the slot of one whose shards have no jobs; they stay requested."""
    with open_lab(tmp_path, on_disk=True, n_rows=10, max_jobs=1) as lab:
        lab.ingest()
        lab.format(lab.shards[0])
        queued = queued_run("x", asset_selection=frozenset(dg.AssetKey(["calls", name]) for name in selection))
        lab.instance.add_run(queued)
        thread, ended = launch(lab)
        if is_ended:
            thread.join(60)
            assert ended == [False]
            assert lab.states == {lab.shards[0]: RequestState.REQUESTED}
            lab.instance.delete_run(queued.run_id)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        thread.join(60)
        assert ended == [not is_ended]
        assert len(lab.jobs()) == 1
