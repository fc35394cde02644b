"""A person's yes: after the canary the other shards wait for it, and it counts for what was approved and no more."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterRunStatus
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from pydantic import ValidationError

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.config.schedule import ScheduleSpec
from bedrock_assets.emulator import Faults
from bedrock_assets.errors import ApprovalRefused
from bedrock_assets.jobs.gate import approve
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.rounds import Rounds
from bedrock_assets.jobs.under_way import UnderWay
from bedrock_assets.sensors.rounds import build_schedule
from bedrock_assets.storage.manifests import Approval
from tests.labs.dispatch import Lab, open_lab, pipeline_of

KEY = dg.AssetKey(["calls", "approved"])
LAB: dict[str, Any] = {
    "n_rows": 150,
    "limits": {"max_records_per_job": 50, "min_records_per_job": 2, "max_jobs": 5},
    "canary": {"rows": 64, "max_error_rate": 0.2},
    "approval": True,
}


def yes(lab: Lab, *, tags: dict[str, str] | None = None, **config: Any) -> dg.ExecuteInProcessResult:
    """Materialize `approved` alone, as a person does in the UI."""
    return dg.materialize(
        build_assets(lab.pipeline),
        selection=[KEY],
        instance=lab.instance,
        resources={"bedrock_batch_store": lab.store_resource, "bedrock_batch": lab.bedrock_resource},
        run_config={"ops": {"calls__approved": {"config": config}}},
        tags=tags,
        raise_on_error=False,
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Why a run failed."""
    (event,) = result.get_step_failure_events()
    assert event.step_failure_data.user_failure_data
    return event.step_failure_data.user_failure_data.description or ""


def until_held(lab: Lab) -> list[str]:
    """Tick until the canary is answered and collected; what the next tick says."""
    lab.tick()
    lab.wait_for_jobs()
    lab.tick()
    return lab.tick().notes


def is_held(lab: Lab) -> bool:
    """Whether the next tick sends nothing, and says that a person is waited for."""
    n_jobs = len(lab.jobs())
    notes = lab.tick().notes
    return len(lab.jobs()) == n_jobs and any("waiting for approval" in note for note in notes)


def paid(lab: Lab) -> int:
    """Records that were sent, by jobs and by calls."""
    return sum(job.n_processed for job in lab.jobs()) + lab.n_invoked


def test_the_others_wait_for_a_person(tmp_path: Path) -> None:
    """Only after the yes they are sent, once; the canary is read once meanwhile, and shown with what it costs."""
    with open_lab(tmp_path, price={"input_usd_per_mtok": 3000, "output_usd_per_mtok": 9000}, **LAB) as lab:
        assert "raw_dataset has not been materialized" in failure(yes(lab))
        lab.ask()
        assert "has no answers to its prompts yet" in failure(yes(lab))
        n_others = len(lab.shards) - 1
        (note,) = [note for note in until_held(lab) if "approval" in note]
        assert note.startswith(f"{n_others} shards of calls waiting for approval: ")
        assert "calls/approved" in note
        assert "bedrock-assets approve calls" in note
        seen = lab.ledger.canary
        assert is_held(lab)
        assert lab.ledger.canary is seen

        (record,) = lab.instance.fetch_observations(KEY, limit=5).records
        assert record.asset_observation
        shown = {name: value.value for name, value in record.asset_observation.metadata.items()}
        assert (shown["thresholds"], shown["error_rate"], shown["canary_rows"]) == ("met", 0, 64)
        assert "86 records in " in shown["rest"]
        assert "about $" in shown["rest"]
        assert "by tokens of 64 answered records" in shown["rest"]
        assert shown["cost_of_canary"].startswith("$")
        assert shown["sample"].count("**transcript**: Call") == shown["sample"].count("**response**: ") == 10

        assert yes(lab, by="Ada").success
        first = lab.store.read_model("calls/approval.json", Approval)
        assert first
        assert (first.approved_by, first.shard) == ("Ada", lab.shards[0])
        assert yes(lab, by="Bob").success
        assert lab.store.read_model("calls/approval.json", Approval) == first
        (event, _) = lab.instance.fetch_materializations(KEY, limit=5).records
        assert event.asset_materialization
        assert event.asset_materialization.metadata["approved_by"].value == "Ada"

        lab.instance.wipe_assets([KEY])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == len(lab.shards)
        assert paid(lab) == 150
        assert lab.materialize("joined_table")


def test_another_prompt_needs_another_yes(tmp_path: Path) -> None:
    """An approval counts for the prompts and the model that were approved; when an edit is undone it counts again."""
    with open_lab(tmp_path, **LAB) as lab:
        lab.ask()
        until_held(lab)
        assert yes(lab).success
        lab.finish()
        lab.change_prompt("Better: {transcript}")
        with pytest.raises(ApprovalRefused, match="are to prompts of another "):
            approve(lab.store, lab.pipeline.workload, "a test")
        lab.ask()
        until_held(lab)
        assert is_held(lab)
        lab.change_prompt("Summarise: {transcript}")
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        lab.pipeline = pipeline_of(
            tmp_path, **{key: value for key, value in LAB.items() if key != "n_rows"}, model="amazon.nova-lite-v1:0"
        )
        lab.ask()
        until_held(lab)
        assert is_held(lab)


def test_answers_that_miss_a_threshold(tmp_path: Path) -> None:
    """They are refused, and so is the yes, unless it says so; then the shards are launched again, and sent."""
    faults = Faults(record_error_rate=0.5, record_error_code=400, record_error_message="refused")
    with open_lab(tmp_path, faults=faults, **LAB) as lab:
        lab.ask()
        states = lab.finish()
        assert set(states.values()) == {RequestState.ANSWERED, RequestState.FAILED}
        assert "--despite-thresholds" in (lab.ledger.entries[lab.shards[1]].message or "")
        assert "exceed a threshold: error_rate is 0." in failure(yes(lab))
        assert yes(lab, despite_thresholds=True).success
        lab.emulator.set_faults(Faults())
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_a_run_of_more_than_the_asset_is_no_yes(tmp_path: Path) -> None:
    """Neither a backfill over everything nor a run with other assets approves anything."""
    with open_lab(tmp_path, **LAB) as lab:
        lab.ask()
        until_held(lab)
        assert yes(lab, tags={"dagster/backfill": "all"}).success
        assets = build_assets(lab.pipeline)
        resources = {"bedrock_batch_store": lab.store_resource, "bedrock_batch": lab.bedrock_resource}
        assert dg.materialize(
            assets,
            selection=[KEY, dg.AssetKey(["calls", "raw_dataset"])],
            instance=lab.instance,
            resources=resources,
        ).success
        assert not lab.store.exists("calls/approval.json")
        assert lab.instance.fetch_materializations(KEY, limit=1).records == []
        assert yes(lab, by="Ada").success
        assert yes(lab, tags={"dagster/backfill": "all"}, by="Bob").success
        first, second = lab.instance.fetch_materializations(KEY, limit=5).records
        for record in (first, second):
            assert record.asset_materialization
            assert record.asset_materialization.metadata["approved_by"].value == "Ada"


def queue(lab: Lab) -> None:
    """Put a run of `approved` into Dagster's queue, where no slot is free."""
    location = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="nowhere")
    lab.instance.add_run(
        dg.DagsterRun(
            "__ASSET_JOB",
            status=DagsterRunStatus.QUEUED,
            asset_selection=frozenset([KEY]),
            remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "__ASSET_JOB"),
        )
    )


def test_a_yes_that_gets_no_run_slot(tmp_path: Path) -> None:
    """It counts while it is queued, since what waits may hold all slots; not if it was given before the answers."""
    with open_lab(tmp_path, **LAB) as lab:
        lab.ask()
        queue(lab)
        until_held(lab)
        assert is_held(lab)
        queue(lab)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_the_waiting_run_says_for_whom(tmp_path: Path) -> None:
    """It goes on waiting, and says what a person has to do; after the yes it ends."""
    with open_lab(tmp_path, on_disk=True, **LAB) as lab:
        lab.ingest()
        lab.format()
        ended: list[dg.ExecuteInProcessResult] = []

        def launch() -> None:
            result = dg.materialize(
                build_assets(lab.pipeline),
                selection=[dg.AssetKey(["calls", "batch_outputs"])],
                instance=lab.instance,
                resources={"bedrock_batch_store": lab.store_resource, "bedrock_batch": lab.bedrock_resource},
                run_config={"ops": {"calls__batch_outputs": {"config": {"poll_s": 0.2}}}},
                tags=lab.span,
                raise_on_error=False,
            )
            ended.append(result)

        thread = threading.Thread(target=launch)
        thread.start()
        lab.until(lambda: len(lab.states) == len(lab.shards))
        until_held(lab)
        run_id = lab.ledger.entries[lab.shards[1]].request.run_id

        def says() -> list[str]:
            return [entry.user_message for entry in lab.instance.all_logs(run_id) if "approval" in entry.user_message]

        lab.until(lambda: bool(says()))
        assert not ended
        approve(lab.store, lab.pipeline.workload, "a test")
        lab.finish()
        thread.join(60)
        assert ended[0].success
        for line in says():
            assert f"({len(lab.shards) - 1} shards of calls waiting for approval: look at the canary's answers" in line


def step(lab: Lab, rounds: Rounds) -> list[dg.RunRequest] | str:
    """What the sensor of a pipeline that runs by itself does now."""
    return rounds.next(lab.instance, UnderWay(lab.instance))


def take(lab: Lab, rounds: Rounds) -> str:
    """Take steps until there are none; why."""
    while not isinstance(requests := step(lab, rounds), str):
        for request in requests:
            assert request.asset_selection
            assert lab.materialize(request.asset_selection[0].path[-1], tags=dict(request.tags))
    return requests


def test_nobody_says_yes_at_night(tmp_path: Path) -> None:
    """The requests wait and hold up nothing: the next round's replace them. First rows that stay need no other yes."""
    with open_lab(tmp_path, **LAB) as lab:
        rounds = Rounds(lab.pipeline.workload, store=lab.store)
        lab.ingest()
        assert take(lab, rounds).startswith("a round is under way: ")
        until_held(lab)
        assert "waiting for approval" in take(lab, rounds)
        assert rounds.busy(UnderWay(lab.instance)) is None

        rows = pl.read_parquet(tmp_path / "calls.parquet")
        changed = pl.when(pl.col("id") == "c3").then(pl.lit("Call 3 again.")).otherwise("transcript")
        rows.with_columns(transcript=changed).write_parquet(tmp_path / "calls.parquet")
        lab.ingest()
        (prompts,) = step(lab, rounds)
        assert isinstance(prompts, dg.RunRequest)
        assert lab.materialize("prompt_shards", tags=dict(prompts.tags))
        assert any("for the canary" in note for note in lab.tick().notes)
        assert take(lab, rounds) == "a round is under way: 1 shard waits for answers"
        until_held(lab)
        assert is_held(lab)
        assert paid(lab) == 64 + 1
        assert yes(lab).success
        assert take(lab, rounds).startswith("a round is under way: ")
        lab.finish()
        assert paid(lab) == 151

        more = pl.DataFrame({"id": [f"d{i}" for i in range(200)], "transcript": [f"New {i}." for i in range(200)]})
        pl.concat([pl.read_parquet(tmp_path / "calls.parquet"), more]).write_parquet(tmp_path / "calls.parquet")
        before = lab.shards
        lab.ingest()
        assert lab.shards != before
        take(lab, rounds)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert paid(lab) == 151 + 200


def test_the_next_night_is_not_skipped(tmp_path: Path) -> None:
    """Shards that wait for jobs hold the schedule up; those that wait for a person do not."""
    with open_lab(tmp_path, on_disk=True, **LAB | {"n_rows": 80}) as lab:
        lab.ask()
        scheduled = lab.pipeline.spec.model_copy(update={"schedule": ScheduleSpec(cron="0 3 * * *")})
        schedule = build_schedule(replace(lab.pipeline, spec=scheduled))
        context = dg.build_schedule_context(lab.instance, resources={"bedrock_batch_store": lab.store_resource})
        assert "1 shard waits for answers" in (schedule.evaluate_tick(context).skip_message or "")
        until_held(lab)
        assert schedule.evaluate_tick(context).run_requests


def test_a_canary_is_needed(tmp_path: Path) -> None:
    """There is nothing to approve without one, which is said before anything is read."""
    with pytest.raises(ValidationError, match="add `canary: 200`"):
        pipeline_of(tmp_path, approval=True)
