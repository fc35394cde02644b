"""The sensor's tick and the runs it asks for, on a real Dagster instance and the emulator over HTTP."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import boto3
import dagster as dg
import polars as pl
import pytest
from botocore.config import Config
from dagster import DagsterRunStatus

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.emulator import Faults
from bedrock_assets.errors import BedrockUnavailable
from bedrock_assets.jobs.collect_runs import JOB_TAG, MAX_RUNS
from bedrock_assets.jobs.ledger import Ledger, RequestState
from tests.labs.dispatch import ROLE, open_lab
from tests.labs.instances import open_instance


def test_four_shards_under_a_cap_of_two(tmp_path: Path) -> None:
    """Two jobs are submitted, two wait for a slot, and all four shards are answered in the end."""
    with open_lab(tmp_path) as lab:
        lab.ask_in_runs()
        lab.tick()
        assert len(lab.jobs()) == 2
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 4
        answers = pl.concat(lab.outputs(shard) for shard in lab.shards)
        assert answers["record_id"].to_list() == [f"c{i}" for i in range(40)]
        assert set(answers["status"]) == {"ok"}


def test_a_lab_leaves_what_runs_leave(tmp_path: Path) -> None:
    """Stages, by which other tests come to a request, leave the same prompts, partitions and facts as the runs do."""
    left = []
    for name in ("runs", "stages"):
        (tmp_path / name).mkdir()
        with open_lab(tmp_path / name, source={"path": "calls.parquet", "id_column": "id"}) as lab:
            if name == "stages":
                lab.ingest()
                lab.format()
            else:
                assert lab.materialize("raw_dataset")
                assert lab.materialize("prompt_shards", tags=lab.span)
            assert lab.materialize("batch_outputs", tags=lab.span)
            lab.ledger.refresh(lab.instance)
            staleness = lab.ledger.staleness
            assert staleness.dataset
            key = dg.AssetKey(["calls", "raw_dataset"])
            (record,) = lab.instance.fetch_materializations(key, limit=9).records
            assert record.asset_materialization
            assert record.asset_materialization.tags
            left.append(
                (
                    {file.key: lab.store.get(file.key) for file in lab.store.files("calls/prompts")},
                    lab.shards,
                    {shard: replace(prompts, storage_id=0) for shard, prompts in staleness.prompts.items()},
                    replace(staleness.dataset, storage_id=0),
                    record.asset_materialization.tags["dagster/data_version"],
                    {
                        s: replace(e.request, storage_id=0, run_id="", requested_at=0)
                        for s, e in lab.ledger.entries.items()
                    },
                )
            )
    by_runs, by_stages = left
    assert by_runs == by_stages
    assert by_runs[-1]


def test_pool_limit_is_read_at_every_tick(tmp_path: Path) -> None:
    """A limit raised in the Concurrency page holds at the next tick, and a limit of 0 submits nothing."""
    with open_lab(tmp_path, speed=1) as lab:
        lab.instance.event_log_storage.set_concurrency_slots("bedrock_batch", 0)
        lab.ask()
        lab.tick()
        assert lab.jobs() == []
        lab.instance.event_log_storage.set_concurrency_slots("bedrock_batch", 3)
        lab.tick()
        assert len(lab.jobs()) == 3


def test_jobs_of_others_on_the_model_take_slots(tmp_path: Path) -> None:
    """A job that somebody else runs on the same model counts against the cap; one on another model does not."""
    with open_lab(tmp_path, speed=1) as lab:
        lab.ask()
        for name, model in (("theirs", lab.pipeline.spec.model), ("other", "amazon.nova-lite-v1:0")):
            lab.bedrock.client.create_model_invocation_job(
                jobName=name,
                roleArn=ROLE,
                modelId=model,
                inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://bucket/x.jsonl"}},
                outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
            )
        lab.tick()
        assert len([job for job in lab.jobs() if job.name.startswith("ba-")]) == 1


def test_lost_response_is_adopted(tmp_path: Path) -> None:
    """A job whose Create was answered by a lost response is found at the next tick and not created again."""
    with open_lab(tmp_path, n_rows=20, faults=Faults(lost_response_rate=1)) as lab:
        lab.ask()
        impatient = boto3.client(
            "bedrock",
            endpoint_url=lab.emulator.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}),
        )
        lab.tick(Bedrock(impatient, ROLE))
        assert len(lab.jobs()) == 1
        assert set(lab.states.values()) == {RequestState.REQUESTED}
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2


def test_new_dagster_instance_adopts_the_jobs(tmp_path: Path) -> None:
    """With the event log lost, asking again finds the jobs by their names and pays nothing."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ask()
        lab.finish()
        with open_instance(tmp_path / "dagster2") as fresh:
            lab.instance, lab.ledger = fresh, Ledger("calls")
            lab.seen_run_keys.clear()
            lab.ask()
            assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2


def test_throttling_leaves_shards_pending(tmp_path: Path) -> None:
    """A throttled tick changes nothing and says why; the next one goes on."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ask()
        lab.emulator.set_faults(Faults(throttle_rate=1))
        with pytest.raises(BedrockUnavailable, match="Throttling"):
            lab.tick()
        assert set(lab.states.values()) == {RequestState.REQUESTED}
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_quota_of_the_account_is_waited_for(tmp_path: Path) -> None:
    """Where AWS allows fewer jobs than the pool, its refusal leaves the shard pending until a slot is free."""
    with open_lab(tmp_path, n_rows=20, max_jobs=2, quota=1, speed=None) as lab:
        lab.ask()
        tick = lab.tick()
        assert any("ServiceQuotaExceeded" in note for note in tick.notes)
        assert len(lab.jobs()) == 1
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_unreachable_bedrock_is_one_clear_message(tmp_path: Path) -> None:
    """Nobody at the endpoint is told as such, and nothing is lost."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ask()
        nobody = boto3.client(
            "bedrock",
            endpoint_url="http://127.0.0.1:9",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
        )
        with pytest.raises(BedrockUnavailable, match=r"127\.0\.0\.1:9"):
            lab.tick(Bedrock(nobody, ROLE))
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_failed_job_shows_its_message_and_launches_again(tmp_path: Path) -> None:
    """A failed job fails the shard with Bedrock's words; asking again makes one new attempt."""
    with open_lab(
        tmp_path, n_rows=10, max_jobs=1, faults=Faults(fail_message="Could not validate GetObject permissions")
    ) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert "GetObject" in (lab.ledger.entries[lab.shards[0]].message or "")
        lab.emulator.set_faults(Faults())
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert [job.status for job in lab.jobs()] == [JobStatus.FAILED, JobStatus.COMPLETED]


def test_completed_without_one_success_fails(tmp_path: Path) -> None:
    """`Completed` with every record an error fails the shard with the most frequent error."""
    faults = Faults(record_error_rate=1, record_error_message="temperature and top_p cannot both be specified")
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=faults) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert lab.jobs()[0].status is JobStatus.COMPLETED
        assert "cannot both be specified" in (lab.ledger.entries[lab.shards[0]].message or "")


def test_refused_job_fails_its_shard(tmp_path: Path) -> None:
    """What Bedrock refuses for good at Create fails the shard with its reason, and asking again tries again."""
    with open_lab(
        tmp_path, n_rows=10, max_jobs=1, faults=Faults(access_denied=True, only_operations=frozenset({"Create"}))
    ) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert "AccessDenied" in (lab.ledger.entries[lab.shards[0]].message or "")
        lab.emulator.set_faults(Faults())
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 1


def test_cancelled_run_withdraws_and_stops(tmp_path: Path) -> None:
    """When the run that asked is cancelled, its job in flight is stopped and nothing more is submitted."""
    with open_lab(tmp_path, max_jobs=1, n_rows=20, speed=1) as lab:
        lab.ask()
        lab.tick()
        for run in lab.instance.get_runs():
            lab.instance.report_run_canceled(run)
        lab.tick()
        assert [job.status for job in lab.jobs()] == [JobStatus.STOPPING]
        lab.tick()
        assert len(lab.jobs()) == 1
        assert RequestState.WITHDRAWN in lab.states.values()


def test_a_job_that_bedrock_does_not_know_is_left_alone(tmp_path: Path) -> None:
    """In another Region the job that was created is not found: nothing is paid again, other shards go on."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        elsewhere = Bedrock(
            boto3.client(
                "bedrock",
                endpoint_url=lab.emulator.endpoint_url,
                region_name="us-west-2",
                aws_access_key_id="local",
                aws_secret_access_key="local",
            ),
            ROLE,
        )
        first, second = lab.shards
        notes = lab.tick_only(elsewhere).notes
        assert any("is left alone until its run is cancelled" in note for note in notes)
        assert [job.name.startswith(f"ba-calls-{second}") for job in elsewhere.list()] == [True]
        lab.instance.report_run_canceled(lab.instance.get_run_by_id(lab.ledger.entries[first].request.run_id))
        lab.tick_only(elsewhere)
        assert lab.states[first] is RequestState.WITHDRAWN


def test_each_request_is_answered_by_a_run_of_its_own(tmp_path: Path) -> None:
    """A shard asked for again while its output is being collected is collected once more, for the later request."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        (early,) = lab.tick_only().collect_runs.run_requests
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert lab.materialize("batch_outputs", lab.shards[0], dict(early.tags))
        assert set(lab.states.values()) == {RequestState.REQUESTED}
        (late,) = lab.tick_only().collect_runs.run_requests
        assert late.run_key != early.run_key
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 1


def test_crashing_collect_runs_end(tmp_path: Path) -> None:
    """A shard whose collect runs crash is tried again after growing pauses, and failed in the end."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        for number in range(MAX_RUNS):
            (request,) = lab.tick_only().collect_runs.run_requests
            assert request.tags[JOB_TAG] == lab.jobs()[0].arn
            assert int(request.tags["dagster/max_runtime"]) >= 3600
            run = lab.instance.create_run_for_job(_noop, tags=dict(request.tags), status=DagsterRunStatus.STARTED)
            assert lab.tick_only().collect_runs.run_requests == []
            lab.instance.report_run_failed(run)
            assert lab.tick_only().collect_runs.run_requests == []
            lab.later = timedelta(seconds=30 * 2**number + 1)
        lab.tick_only()
        assert set(lab.states.values()) == {RequestState.FAILED}


def test_ledger_reads_only_what_is_new(tmp_path: Path) -> None:
    """A ledger that has read the log and one that reads it from the start agree after every step."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1) as lab:
        lab.ask()
        for _ in range(6):
            lab.tick()
            lab.wait_for_jobs()
            whole = Ledger("calls")
            whole.refresh(lab.instance)
            lab.ledger.refresh(lab.instance)
            assert whole.entries == lab.ledger.entries
        assert set(lab.states.values()) == {RequestState.ANSWERED}


@dg.job
def _noop() -> None:
    pass
