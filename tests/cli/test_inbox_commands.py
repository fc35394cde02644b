"""The commands over an inbox, on a real instance, store and emulator: its files are told, stopped, counted, cleaned."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.aws.regions import Regions
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.operations.clean import CleanTarget, delete_files, plan_clean, without_new_drops
from tests.cli.test_commands import run, told
from tests.labs.inbox import INBOX, Lab, lines, open_lab

PYPROJECT = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "mailroom"\n'


@contextmanager
def desk(folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> Generator[tuple[Lab, Path]]:
    """A lab, the folder of components of a project that has its inbox, and an environment that points at both."""
    with open_lab(folder, on_disk=True, **settings) as lab:
        defs = folder / "project" / "mailroom" / "defs"
        (defs / INBOX).mkdir(parents=True)
        (folder / "project" / "pyproject.toml").write_text(PYPROJECT)
        attributes = lab.inbox.spec.model_dump(mode="json", exclude_unset=True, by_alias=True)
        document = {"type": "bedrock_assets.BatchInbox", "attributes": attributes}
        (defs / INBOX / "defs.yaml").write_text(yaml.safe_dump(document))
        patch.chdir(folder / "project")
        environment = {
            "DAGSTER_HOME": str(folder / "dagster"),
            "BEDROCK_ASSETS_STORE": lab.store_resource.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            **{f"AWS_ENDPOINT_URL_{name}": lab.emulator.endpoint_url for name in ("BEDROCK", "SERVICE_QUOTAS")},
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        yield lab, defs


def of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """States by file."""
    return {row["shard"]: row["state"] for row in rows}


def test_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file waits, is refused with the reason and the cure, runs, and is answered with its records and cost."""
    with desk(tmp_path, monkeypatch, speed=None) as (lab, _):
        assert "mail: no files yet: drop some into to-process" in run("status").output
        for name in ("first.jsonl", "my calls.jsonl", "2026/late.jsonl"):
            lab.drop(name, lines(4))
        lab.drop("bad.jsonl", b"nonsense")
        waiting = {"first.jsonl": "waiting", "bad.jsonl": "waiting"}
        assert of(told("status", INBOX)) == {**waiting, "my calls.jsonl": "refused", "2026": "refused"}
        for _ in range(3):
            lab.tick()
        rows = {row["shard"]: row for row in told("status")}
        assert rows["first"]["state"] in (JobStatus.SUBMITTED, JobStatus.VALIDATING, JobStatus.IN_PROGRESS)
        assert (rows["first"]["n_records"], rows["first"]["inference_mode"]) == (4, "batch")
        assert "rename it, for example to my_calls.jsonl" in rows["my calls.jsonl"]["message"]
        assert "move the files that are in it up" in rows["2026"]["message"]
        assert "line 1 is not a JSON object" in rows["bad.jsonl"]["message"]
        lab.finish()
        done = next(row for row in told("status", INBOX) if row["shard"] == "first")
        assert (done["state"], done["n_done"], done["message"]) == ("answered", 4, None)
        assert 0 < done["cost_usd"] < 0.01
        shown = run("status", INBOX).output
        assert "answered" in shown
        assert "bad.jsonl: line 1 is not a JSON object" in shown


def test_a_broken_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is wrong is told with its name, and an error code; all others are shown and checked as ever."""
    with desk(tmp_path, monkeypatch) as (lab, defs):
        lab.drop("first.jsonl", lines(4))
        lab.drop("a b.jsonl", lines(4))
        (defs / "broken").mkdir()
        (defs / "broken" / "defs.yaml").write_text("type: bedrock_assets.BatchInference\nattributes: {name: broken")
        result = run("status", "--json")
        assert (result.exit_code, of(json.loads(result.stdout))["first.jsonl"]) == (2, "waiting")
        assert "broken/defs.yaml is not YAML" in result.stderr
        assert run("status", INBOX).exit_code == 0
        attributes = {"name": "wordless", "source": {"path": "x.csv"}, "model": lab.inbox.spec.model}
        document = {"type": "bedrock_assets.BatchInference", "attributes": attributes}
        attributes["task"] = {"text": {"prompt_id": "nowhere"}}
        (defs / "broken" / "defs.yaml").write_text(yaml.safe_dump(document))
        assert run("status").exit_code == 0
        found = {finding["check"]: finding for finding in told("doctor", code=1)}
        assert (found["defs.yaml"]["status"], "broken/defs.yaml" in found["defs.yaml"]["message"]) == ("fail", True)
        assert found["files of mail"]["status"] == "warn"
        assert "1 waiting, 1 refused" in found["files of mail"]["message"]
        assert {"model of mail", "model of wordless", "pool bedrock_batch"} < set(found)


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed records of all files are gathered; a launch with `retry_errors` sends them alone."""
    with desk(tmp_path, monkeypatch, faults=Faults(seed=3, record_error_rate=0.3), max_attempts=1) as (lab, _):
        lab.drop("first.jsonl", lines(12))
        lab.drop("second.jsonl", lines(12, "letter"))
        lab.finish()
        found = told("errors", INBOX)
        n_failed = sum(group["n_rows"] for group in found)
        failed = [key for key in ("first", "second") if set(lab.answers(key)["status"]) != {"ok"}]
        assert 0 < n_failed < 24
        assert sorted({key for group in found for key in group["shards"]}) == failed
        lab.emulator.set_faults(Faults())
        for key in failed:
            config = {"ops": {"mail__batch_outputs": {"config": {"wait": False, "retry_errors": True}}}}
            assert lab.run("batch_outputs", key, config=config)
        lab.finish()
        assert told("errors", INBOX) == []


def test_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs stop and requests are withdrawn, after asking; what waits is told; a file dropped again is sent again."""
    with desk(tmp_path, monkeypatch, speed=None) as (lab, _):
        lab.drop("first.jsonl", lines(4))
        lab.drop("second.jsonl", lines(5))
        for _ in range(3):
            lab.tick()
        lab.drop("third.jsonl", lines(6))
        assert run("stop", INBOX, answer="n\n").exit_code == 1
        one = told("stop", INBOX, "--shard", "second.jsonl", "--yes")
        assert (one["withdrawn"], len(one["stopped"])) == (["second"], 1)
        result = run("stop", INBOX, "--yes")
        assert "1 shard withdrawn, 1 job asked to stop" in result.stdout
        assert "1 file waits in the folder and will be taken; turn off the sensor mail_files_sensor" in result.stderr
        assert set(lab.states.values()) == {RequestState.WITHDRAWN}
        lab.until(lambda: not any(job.status.in_flight for job in lab.jobs()))
        assert {job.status for job in lab.jobs()} == {JobStatus.STOPPED}
        assert run("stop", "mial", "--yes").exit_code == 2
        lab.drop("first.jsonl", lines(4))
        assert lab.finish() == {"first": "answered", "second": "withdrawn", "third": "answered"}
        assert len(lab.answers("first")) == 4


def test_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that wait are counted, with what their requests may take; what would be refused is told."""
    with desk(tmp_path, monkeypatch) as (lab, _):
        lab.drop("first.jsonl", lines(4))
        lab.drop("small.jsonl", lines(1))
        lab.drop("bad.jsonl", b"nonsense")
        result = run("estimate", INBOX, "--json")
        assert "bad.jsonl would not be taken: line 1 is not a JSON object" in result.stderr
        before = json.loads(result.stdout)
        assert (before["n_records"], before["n_jobs"], before["n_waves"], before["hours"]) == (5, 1, 1, None)
        assert (before["output_tokens"], before["inference_mode"]) == (5 * 64, "batch")
        assert before["on_demand_usd"] > before["cost_usd"] > before["on_demand_usd"] / 2
        assert lab.left == ["bad.jsonl", "first.jsonl", "small.jsonl"]
        lab.finish()
        after = told("estimate", INBOX)
        assert (after["n_records"], after["cost_usd"]) == (0, 0)
        lab.drop("next.jsonl", lines(6, "letter"))
        assert "tokens of 5 answered records" in told("estimate", INBOX)["basis"]


def test_gc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of an earlier file of the same name go; files of people, answers and what jobs need stay."""
    with desk(tmp_path, monkeypatch) as (lab, _):
        lab.drop("daily.jsonl", lines(5, "Monday"))
        lab.finish()
        old = {file.key for file in lab.store.files("mail/prompts") if not file.key.endswith("manifest.json")}
        assert told("gc", INBOX, "--older-than-hours", 0)["n_files"] == 0
        (Path(lab.store.root) / "processed" / "daily" / "daily.parquet").unlink()
        lab.drop("daily.jsonl", lines(6, "Tuesday"))
        lab.finish()
        lab.drop("waits.jsonl", lines(3))
        found = set(told("gc", INBOX, "--older-than-hours", 0)["files"])
        assert old < found
        assert all("-1/" in key for key in found - old)  # the first job's output
        assert run("gc", INBOX, "--older-than-hours", 0, "--delete", "--yes").exit_code == 0
        assert told("gc", INBOX, "--older-than-hours", 0)["n_files"] == 0
        assert (len(lab.answers("daily")), lab.left) == (6, ["waits.jsonl"])
        assert lab.store.exists("processed/daily/daily.jsonl")


def test_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All folders are listed, with what was not taken, and just these are emptied; names that are no key stay."""
    with desk(tmp_path, monkeypatch) as (lab, _):
        lab.drop("first.jsonl", lines(4))
        lab.finish()
        lab.drop("waits.jsonl", lines(3))
        lab.drop("a b.jsonl", lines(3))
        lab.drop("sub/inside.jsonl", lines(3))
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "mine.jsonl").write_bytes(lines(3))
        (lab.folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        lab.store.put("calls/raw/manifest.json", b"{}")
        shown = run("aws", "clean", INBOX, answer="n\n").output
        assert [line.split()[1] for line in shown.splitlines() if line.startswith("  files ")] == [
            *("processed/", "prompts", "to-process/")
        ]
        assert "1 files in to-process/ were dropped and not taken yet: deleted too" in shown
        assert all(f"stays to-process/{name}: " in shown for name in ("a b.jsonl", "sub", "link"))
        assert "all of it, with 1 files that were dropped and not taken yet?" in shown
        assert len(lab.store.files("processed")) > 2
        kept = json.loads(run("aws", "clean", INBOX, "--keep-table", "--json").stdout)
        done = json.loads(run("aws", "clean", INBOX, "--yes", "--json").stdout)
        assert (done["n_dropped"], set(done["folders"])) == (1, {"processed/", "prompts", "to-process/"})
        assert done["n_files"] == kept["n_files"] + 1
        assert [lab.store.files(folder) for folder in ("mail", "processed")] == [[], []]
        assert (tmp_path / "elsewhere" / "mine.jsonl").exists()
        assert (lab.folder / "sub" / "inside.jsonl").exists()
        assert lab.left == ["a b.jsonl", "link", "sub"]
        assert lab.store.exists("calls/raw/manifest.json")
        lab.drop("first.jsonl", lines(4))
        assert lab.finish() == {"first": RequestState.ANSWERED}


def test_clean_stops_jobs_and_leaves_what_it_did_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of an inbox is known by its folder; a file that is dropped after the question stays."""
    with desk(tmp_path, monkeypatch, speed=None) as (lab, _):
        lab.drop("first.jsonl", lines(4))
        for _ in range(3):
            lab.tick()
        lab.drop("told.jsonl", lines(5))
        regions, target = Regions.only(lab.bedrock, lab.store), CleanTarget.of_spec(lab.inbox.spec)
        plan = plan_clean(regions, target)
        assert [job.arn for job in plan.jobs] == [job.arn for job in lab.jobs()]
        lab.drop("later.jsonl", lines(6))
        list(delete_files(lab.store, without_new_drops(plan_clean(regions, target), plan)))
        assert lab.left == ["later.jsonl"]


def test_clean_without_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the inbox is no longer defined, its own files tell the folders of what was taken, and these alone go."""
    with desk(tmp_path, monkeypatch) as (lab, defs):
        lab.drop("first.jsonl", lines(4))
        lab.finish()
        lab.drop("waits.jsonl", lines(3))
        lab.store.put("processed/mine/notes.txt", b"mine")
        (defs / INBOX / "defs.yaml").unlink()
        done = json.loads(run("aws", "clean", INBOX, "--yes", "--json").stdout)
        assert set(done["folders"]) == {"processed/first/", "prompts"}
        assert [file.key for file in lab.store.files("processed")] == ["processed/mine/notes.txt"]
        assert lab.left == ["waits.jsonl"]
