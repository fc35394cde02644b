"""`bedrock-assets approve`, and what other commands tell while a person is waited for."""

import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.errors import ApprovalRefused
from bedrock_assets.jobs.canary import answered_canary
from bedrock_assets.jobs.gate import approval_note, approve
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.rounds import Rounds
from bedrock_assets.operations.run_round import Progress, RoundRun
from tests.cli.test_commands import desk, run, told
from tests.labs.dispatch import Lab, open_lab

LAB: dict[str, Any] = {
    "n_rows": 150,
    "limits": {"max_records_per_job": 100, "min_records_per_job": 2, "max_jobs": 5},
    "canary": {"rows": 64},
    "approval": True,
}


def until_held(lab: Lab) -> None:
    """Tick until the canary is collected."""
    lab.tick()
    lab.wait_for_jobs()
    lab.tick()


def test_approve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the answers it is refused; then it shows them, asks, and the others are sent; Dagster shows the yes."""
    with desk(tmp_path, monkeypatch, **LAB) as (lab, path):
        early = run("approve", path)
        assert (early.exit_code, "raw_dataset has not been materialized" in early.stderr) == (2, True)
        lab.ask()
        assert "has no answers to its prompts yet" in run("approve", path, "--yes").stderr
        assert "waiting for approval" not in run("status", path).output
        until_held(lab)
        n_others = len(lab.shards) - 1
        assert f"{n_others} shards of calls waiting for approval: look at" in run("status", path).output.replace(
            "\n", " "
        )
        (found,) = [one for one in told("doctor", path, code=1) if one["check"] == "approval of calls"]
        assert (found["status"], "bedrock-assets approve calls" in found["fix"]) == ("warn", True)

        refused = run("approve", path, answer="n\n")
        assert (refused.exit_code, lab.store.exists("calls/approval.json")) == (1, False)
        shown = " ".join(refused.stdout.split())
        assert "row 10 record_id: c54 transcript: Call 54: the customer asked" in shown
        assert "response: " in shown
        assert "without an answer 0.0%" in shown
        assert "thresholds met" in shown
        assert f"the rest 86 records in {n_others} shards, about $" in shown

        with pytest.raises(ApprovalRefused, match="other prompts, and other answers, than those that you have seen"):
            approve(lab.store, lab.pipeline.workload, "a test", shown="what was shown an hour ago")
        assert not lab.store.exists("calls/approval.json")
        done = told("approve", path, "--yes")
        assert (done["shard"], done["n_records"], len(done["sample"])) == (lab.shards[0], 86, 10)
        assert 0 < done["cost_usd"] < done["rest_usd"] < 3 * done["cost_usd"]
        assert lab.instance.get_latest_materialization_event(dg.AssetKey(["calls", "approved"]))
        assert "waiting for approval" not in run("status", path).output
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_nobody_is_waited_for_where_a_threshold_is_missed(tmp_path: Path) -> None:
    """Between the canary's answers and the tick that refuses the others, a round goes on instead of asking a person."""
    with open_lab(tmp_path, **LAB | {"canary": {"rows": 64, "max_mean_output_tokens": 1}}) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lab.tick()
        rounds = Rounds(lab.pipeline.workload, store=lab.store)
        rounds.ledger.refresh(lab.instance)
        assert answered_canary(lab.store, "calls", lab.shards[0])
        assert any(not entry.job_arn for entry in rounds.ledger.open_entries)
        assert approval_note(lab.store, lab.pipeline.spec, rounds.ledger) != ""
        assert rounds.approval_note() == ""
        states = lab.finish()
        states.pop(lab.shards[0])
        assert set(states.values()) == {RequestState.FAILED}


def test_there_is_nobody_to_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline without `approval` has nothing to approve; `run --approve` needs to be there when it is time."""
    with desk(tmp_path, monkeypatch, n_rows=20) as (_, path):
        assert "has no `approval: true`" in run("approve", path).stderr
        alone = run("run", path, "--approve")
        assert (alone.exit_code, "--approve needs --wait" in alone.stderr) == (2, True)


def test_a_round_stops_for_a_person(tmp_path: Path) -> None:
    """`run --wait` ends and says so where only a person is missing; with `--approve` it goes on to the table."""
    with open_lab(tmp_path, on_disk=True, **LAB) as lab:
        resources = {"bedrock_batch_store": lab.store_resource, "bedrock_batch": lab.bedrock_resource}
        defs = dg.Definitions(build_assets(lab.pipeline), resources=resources)
        job, steps = defs.resolve_implicit_global_asset_job_def(), list[Progress]()

        def round_run(approves_as: str = "") -> RoundRun:
            return RoundRun(lab.instance, job, lab.pipeline.workload, steps.append, lab.store, approves_as, poll_s=0.1)

        lab.ingest()
        waiting = round_run()
        waiting.request()
        assert waiting.held() is None
        until_held(lab)
        held = waiting.held()
        assert held
        stopped = waiting.finish()
        assert stopped.approval == held.approval
        assert "bedrock-assets approve calls" in stopped.approval
        assert not stopped.is_complete

        ended: list[Progress] = []
        thread = threading.Thread(target=lambda: ended.append(round_run("Ada").finish()))
        thread.start()
        lab.until(lambda: lab.store.exists("calls/approval.json"))
        lab.finish()
        thread.join(60)
        assert ended[0].is_complete
        assert lab.store.exists("calls/table/manifest.json")
