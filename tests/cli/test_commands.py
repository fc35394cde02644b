"""The commands for people at a terminal, on a real instance, store and emulator: what they tell, and change."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.cli.app import app
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.ledger import RequestState
from tests.labs.dispatch import RANGE_END_TAG, RANGE_START_TAG, Lab, open_lab

FAULTY = Faults(seed=3, record_error_rate=0.3)


def run(*arguments: object, answer: str = "") -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)


def told(*arguments: object, code: int = 0) -> Any:
    """The JSON that a command prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@contextmanager
def desk(folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> Generator[tuple[Lab, Path]]:
    """A lab, an environment that points at it, and its pipeline as YAML."""
    with open_lab(folder, on_disk=True, **settings) as lab:
        attributes = lab.pipeline.spec.model_dump(mode="json", exclude_unset=True, by_alias=True)
        path = folder / "defs.yaml"
        path.write_text(yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": attributes}))
        environment = {
            "DAGSTER_HOME": str(folder / "dagster"),
            "BEDROCK_ASSETS_STORE": lab.store_resource.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        services = ("BEDROCK", "BEDROCK_RUNTIME", "SERVICE_QUOTAS")
        for name, value in environment.items():
            patch.setenv(name, value)
        for service in services:
            patch.setenv(f"AWS_ENDPOINT_URL_{service}", lab.emulator.endpoint_url)
        yield lab, path


def test_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first look to the last answer: what was not asked, waits, runs, and is done, with its cost."""
    with desk(tmp_path, monkeypatch, n_rows=20, max_jobs=1, speed=None) as (lab, path):
        assert "materialize raw_dataset" in run("status", path).output
        assert lab.materialize("raw_dataset")
        assert [line["state"] for line in told("status", path)] == ["not asked"] * 2
        lab.ask()
        lab.tick()
        first, second = told("status", path)
        assert (first["state"], second["state"]) == (JobStatus.SUBMITTED.value, "requested")
        assert (first["n_records"], first["attempt"], first["inference_mode"]) == (10, 1, "batch")
        assert first["estimated_usd"] > 0
        lab.finish()
        done = told("status", path)
        assert [(line["state"], line["n_done"]) for line in done] == [("answered", 10)] * 2
        assert all(0 < line["cost_usd"] < 0.01 for line in done)
        shown = run("status", path).output
        assert "answered" in shown
        assert "calls, table: not built yet" in shown
        assert lab.materialize("joined_table")
        assert ", 20 rows: 20 ok" in run("status", path).output


def test_status_without_bedrock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Bedrock cannot be asked, the log's word is shown, with a warning."""
    with desk(tmp_path, monkeypatch, n_rows=20, speed=None) as (lab, path):
        lab.ask()
        lab.tick()
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        result = run("status", path)
        assert result.exit_code == 0
        assert "submitted" in result.stdout
        assert "no news of its jobs" in result.stderr


def test_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check has a status; without a sensor daemon one fails, and so does a limit above its quota, with the fix."""
    with desk(tmp_path, monkeypatch, n_rows=20) as (_, path):
        found = {finding["check"]: finding for finding in told("doctor", path, code=1)}
        verdicts = {check: finding["status"] for check, finding in found.items()}
        assert verdicts == {
            **dict.fromkeys(["Region", "credentials", "store", "bucket Region", "Bedrock", "service role"], "ok"),
            **dict.fromkeys(["model of calls", "max_jobs of calls", "max_records_per_job of calls"], "ok"),
            "min_records_per_job of calls": "ok",
            "pool bedrock_batch": "warn",
            "run monitoring": "ok",
            "sensor daemon": "fail",
            **dict.fromkeys(["run slots", "answers to collect"], "ok"),
        }
        document = yaml.safe_load(path.read_text())
        document["attributes"]["limits"] |= {"max_jobs": 50}
        path.write_text(yaml.safe_dump(document))
        output = run("doctor", path).output
        assert "limits.max_jobs is 50; the quota is 20" in output
        assert "set it to 20 in the pipeline" in output


def test_doctor_without_bedrock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached is a finding, not a crash."""
    with desk(tmp_path, monkeypatch, n_rows=20) as (_, path):
        for name in ("BEDROCK", "SERVICE_QUOTAS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setenv("BEDROCK_ASSETS_STORE", "/proc/no/store")
        monkeypatch.delenv("DAGSTER_HOME")
        found = {finding["check"]: finding["status"] for finding in told("doctor", path, code=1)}
        wanted = {"store": "fail", "Bedrock": "fail", "model of calls": "unknown", "Dagster": "unknown"}
        assert wanted.items() <= found.items()


def test_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be sent before and after it was answered; batch is half of on demand; hours by the jobs that ended."""
    with desk(tmp_path, monkeypatch, n_rows=40) as (lab, path):
        before = told("estimate", path)
        assert (before["n_rows"], before["n_records"], before["n_jobs"], before["n_waves"]) == (40, 40, 4, 2)
        assert before["cost_usd"] == pytest.approx(before["on_demand_usd"] / 2)
        assert before["hours"] is None
        assert "input tokens that the model counted in" in before["basis"]
        lab.ask()
        lab.finish()
        after = told("estimate", path)
        assert (after["n_records"], after["n_reused"], after["n_jobs"], after["cost_usd"]) == (0, 40, 0, 0)
        assert "tokens of 40 answered records" in after["basis"]
        assert after["job_hours"] > 0
        assert "answered already" in run("estimate", path).output
        monkeypatch.delenv("AWS_ENDPOINT_URL_BEDROCK")
        for region, told_of in {None: "You must specify a region", "": "correct AWS_REGION"}.items():
            monkeypatch.delenv("AWS_REGION") if region is None else monkeypatch.setenv("AWS_REGION", region)
            without = run("estimate", path)
            assert (without.exit_code, told_of in without.stderr) == (0, True)
            assert "answered already" in without.stdout


def test_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are shown and nobody is asked; with --ask the model answers those rows alone."""
    with desk(tmp_path, monkeypatch, n_rows=20) as (lab, path):
        shown = told("sample", path, "-n", 2)
        assert [trial["record_id"] for trial in shown] == ["c0", "c1"]
        assert "invoice 0" in json.dumps(shown[0]["record"])
        assert (shown[0]["answer"], lab.n_invoked) == ({}, 0)
        (asked,) = told("sample", path, "--id", "c7", "--ask")
        assert (asked["record_id"], asked["answer"]["status"], lab.n_invoked) == ("c7", "ok", 1)
        assert asked["cost_usd"] > 0
        people = run("sample", path, "--id", "c7", "--ask").output
        assert shown[0]["prompt"] in run("sample", path).output
        assert "-> ok" in people
        assert asked["answer"]["response"] in people
        wrong = run("sample", path, "--id", "nobody")
        assert (wrong.exit_code, "no row with record_id 'nobody'" in wrong.stderr) == (2, True)


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed rows are gathered; asked for once more, they alone are sent, as the next attempt, and the rest is kept."""
    with desk(tmp_path, monkeypatch, n_rows=20, faults=FAULTY, max_attempts=1) as (lab, path):
        early = " ".join(run("errors", path).output.split())
        assert f"no shard of calls is answered yet in the store {lab.store_resource.url}" in early
        lab.ask()
        lab.finish()
        found = told("errors", path)
        n_failed = sum(cluster["n_rows"] for cluster in found)
        assert 0 < n_failed < 20
        assert [cluster["n_rows"] for cluster in found] == sorted((c["n_rows"] for c in found), reverse=True)
        assert found[0]["example"].startswith("c")
        assert found[0]["error_code"] in run("errors", path).output
        lab.emulator.set_faults(Faults())
        n_sent = sum(job.n_total for job in lab.jobs()) + lab.n_invoked
        span = {RANGE_START_TAG: lab.shards[0], RANGE_END_TAG: lab.shards[-1]}
        assert lab.materialize("batch_outputs", tags=span, retry_errors=True)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert sum(job.n_total for job in lab.jobs()) + lab.n_invoked - n_sent == n_failed
        assert told("errors", path) == []
        assert "no row" in run("errors", path).output


def test_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pending is withdrawn and what is in flight stopped, after asking; a launch goes on where it was."""
    with desk(tmp_path, monkeypatch, n_rows=20, max_jobs=1, speed=None) as (lab, path):
        lab.ask()
        lab.tick()
        refused = run("stop", path, answer="n\n")
        assert (refused.exit_code, set(lab.states.values())) == (1, {RequestState.SUBMITTED, RequestState.REQUESTED})
        done = told("stop", path, "--yes")
        assert (len(done["withdrawn"]), len(done["stopped"]), done["refused"]) == (2, 1, [])
        assert set(lab.states.values()) == {RequestState.WITHDRAWN}
        lab.tick()
        assert [job.status for job in lab.wait_for_jobs()] == [JobStatus.STOPPED]
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert told("stop", path, "--yes") == {"withdrawn": [], "stopped": [], "refused": []}


def test_stop_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go on."""
    with desk(tmp_path, monkeypatch, n_rows=20, speed=None) as (lab, path):
        lab.ask()
        lab.tick()
        first, second = lab.shards
        assert told("stop", path, "--shard", first, "--yes")["withdrawn"] == [first]
        assert (lab.states[first], lab.states[second]) == (RequestState.WITHDRAWN, RequestState.SUBMITTED)


def test_gc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of earlier prompts go, those of the current ones and of jobs in flight stay; the table is as it was."""
    with desk(tmp_path, monkeypatch, n_rows=20, on_stale="leave") as (lab, path):
        lab.ask()
        lab.finish()
        old = {file.key for file in lab.store.files("calls/prompts")}
        lab.change_prompt("Now: {transcript}")
        lab.ask()
        lab.finish()
        assert lab.materialize("joined_table")
        table = [file.key for file in lab.store.files("calls/table")]
        assert told("gc", path)["n_files"] == 0  # all of it is too young
        found = told("gc", path, "--older-than-hours", 0)
        assert set(found["files"]) >= {key for key in old if not key.endswith("manifest.json")}
        assert all("/answers/" not in key and "/table/" not in key for key in found["files"])
        assert run("gc", path, "--older-than-hours", 0, "--delete", answer="n\n").exit_code == 1
        assert told("gc", path, "--older-than-hours", 0) == found
        assert run("gc", path, "--older-than-hours", 0, "--delete", "--yes").exit_code == 0
        assert told("gc", path, "--older-than-hours", 0)["n_files"] == 0
        assert [file.key for file in lab.store.files("calls/table")] == table
        assert lab.materialize("joined_table")
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_gc_leaves_what_jobs_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts and outputs of jobs in flight stay, even those that were replaced by newer prompts."""
    with desk(tmp_path, monkeypatch, n_rows=20, speed=None, on_stale="leave") as (lab, path):
        lab.ask()
        lab.tick()
        lab.change_prompt("Now: {transcript}")
        lab.ask()
        assert told("gc", path, "--older-than-hours", 0)["files"] == []


def test_settings_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Dagster's folder, or with one that is none, a command says what to set."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    result = run("status", "conversation_summaries")
    assert (result.exit_code, "DAGSTER_HOME is not set" in result.stderr) == (2, True)
    result = run("status", "conversation_summaries", "--home", tmp_path)
    assert (result.exit_code, "is not a folder of a local stack" in result.stderr) == (2, True)


def test_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files load; what would not load, or is there, is refused, and nothing is left of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text\nhello\n")
    common = ("--source", "rows.csv", "--model", "amazon.nova-lite-v1:0", "--defs", tmp_path / "defs")
    made = run("new", "calls", *common, "--prompt", "Sum up: {text}")
    assert made.exit_code == 0, made.output
    assert "does not load" in made.stderr
    assert [line.split("#")[0].split()[:3] for line in made.stdout.splitlines() if line.startswith("next")] == [
        ["next", "bedrock-assets", command] for command in ("plan", "estimate", "sample")
    ]
    assert told("plan", tmp_path / "defs/calls/defs.yaml")["rows"] == 1
    for arguments, message in (
        (("calls", "--prompt", "{text}"), "already exists"),
        (("more", "--prompt", "{txt}"), "column 'txt'"),
        (("Calls", "--prompt", "{text}"), "name: 'Calls' cannot be; write lower-case"),
        (("more",), "exactly one of --prompt and --embed"),
        (("more", "--embed", "text"), "is for text tasks, but the task is embedding"),
    ):
        refused = run("new", *arguments, *common)
        assert (refused.exit_code, message in refused.stderr) == (2, True), refused.output
    assert [path.name for path in (tmp_path / "defs").iterdir()] == ["calls"]
