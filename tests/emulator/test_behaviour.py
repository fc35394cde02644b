"""The clock that a test steps, and the faults that are about time and about parts of files."""

import json
import sqlite3
import urllib.error
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.emulator import Faults
from tests.emulator.lab import BUCKET, Lab, StartLab, limits, records


def seconds_since_submit(lab: Lab, arn: str, name: str) -> float:
    """A time of a job, counted from its submission."""
    job: dict[str, Any] = {**lab.get(arn)}
    return (job[name] - job["submitTime"]).total_seconds()


def set_timeout(folder: Path, arn: str, timeout_s: float) -> None:
    """Give a job a timeout that the API would not take, because emulated jobs are done long before 24 h."""
    with sqlite3.connect(folder / "jobs.sqlite") as database:
        changed = database.execute(
            "UPDATE jobs SET expires = submit_time + ? WHERE job_id = ?", (timeout_s, arn.rsplit("/", 1)[-1])
        )
        assert changed.rowcount == 1
    database.close()


def test_steps_reach_every_status(stepped_lab: Lab) -> None:
    """Time stands still between steps; each step does all that is due by then, and no more."""
    lab = stepped_lab
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(500)))
    seen: list[tuple[str, int]] = []
    for step_s in (0, 29, 1, 59, 1, 60, 62.5, 62.5, 1000):
        lab.emulator.advance(step_s)
        job = lab.get(arn)
        seen.append((job["status"], job["processedRecordCount"]))
    assert seen == [
        ("Submitted", 0),
        ("Submitted", 0),
        ("Validating", 0),
        ("Validating", 0),
        ("Scheduled", 0),
        ("InProgress", 0),
        ("InProgress", 250),
        ("Completed", 500),
        ("Completed", 500),
    ]
    assert seconds_since_submit(lab, arn, "endTime") == pytest.approx(30 + 60 + 60 + 125, abs=0.01)


def test_one_large_step_is_many_small_ones(stepped_lab: Lab) -> None:
    """A step over a whole life ends the job at its own time, not at the step's end."""
    arn = stepped_lab.create("a-job")
    stepped_lab.emulator.advance(24 * 3600 * 3)
    assert stepped_lab.get(arn)["status"] == "Completed"
    assert seconds_since_submit(stepped_lab, arn, "endTime") == pytest.approx(30 + 60 + 60 + 120.2, abs=0.01)


@pytest.mark.parametrize("mark", [False, True])
def test_stepped_stop(stepped_lab: Lab, mark: bool) -> None:
    """Stopping lasts its ten seconds, keeps what was processed when the call came, and may mark the rest."""
    lab = stepped_lab
    lab.faults(mark_expired=mark)
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(500)))
    lab.emulator.advance(150 + 62.5)
    lab.client.stop_model_invocation_job(jobIdentifier=arn)
    lab.emulator.advance(9)
    assert lab.get(arn)["status"] == "Stopping"
    lab.emulator.advance(1)
    assert (lab.get(arn)["status"], lab.get(arn)["processedRecordCount"]) == ("Stopped", 250)
    lines = lab.lines(arn, "x.jsonl.out")
    assert sum("modelOutput" in line for line in lines) == 250
    assert sum(line.get("error", {}).get("expired", False) for line in lines) == len(lines) - 250 == 250 * mark


def test_a_slot_is_free_when_its_job_ended(start: StartLab) -> None:
    """In mode `queue` the next job begins when the one before it ended, however large the step."""
    lab = start(stepped=True, queue=True, limits=limits(max_jobs=1))
    lab.create("first-job")
    waiting = lab.create("second-job")
    lab.emulator.advance(150)
    assert lab.get(waiting)["status"] == "Submitted"
    lab.emulator.advance(10_000)
    assert lab.get(waiting)["status"] == "Completed"
    assert seconds_since_submit(lab, waiting, "endTime") == pytest.approx(270.2 + 60 + 60 + 120.2, abs=0.01)


@pytest.mark.parametrize("mark", [False, True])
def test_waiting_past_the_timeout(start: StartLab, tmp_path: Path, mark: bool) -> None:
    """A job that has no slot until its timeout is over expires at that time, without output."""
    lab = start(stepped=True, queue=True, limits=limits(max_jobs=1))
    lab.faults(mark_expired=mark)
    lab.create("first-job", lab.put("in/x.jsonl", records(20)))
    lab.emulator.advance(200)
    arn = lab.create("second-job")
    set_timeout(tmp_path, arn, 40)
    lab.emulator.advance(10_000)
    assert lab.get(arn)["status"] == "Expired"
    assert seconds_since_submit(lab, arn, "endTime") == pytest.approx(40, abs=0.01)
    assert lab.output_names(arn) == []


def test_a_timeout_ends_a_long_job(stepped_lab: Lab, tmp_path: Path) -> None:
    """The timeout counts from the submission: a job that is under way by then ends PartiallyCompleted."""
    lab = stepped_lab
    arn = lab.create("a-job")
    set_timeout(tmp_path, arn, 150 + 60.2)
    lab.emulator.advance(24 * 3600)
    job = lab.get(arn)
    assert (job["status"], job["processedRecordCount"]) == ("PartiallyCompleted", 10)
    assert seconds_since_submit(lab, arn, "endTime") == pytest.approx(210.2, abs=0.01)


def test_the_clock_over_http(start: StartLab) -> None:
    """GET /admin/clock tells the time, POST advances it; a clock that runs by itself refuses."""

    def clock(lab: Lab, body: str | None = None) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(f"{lab.emulator.endpoint_url}/admin/clock", body and body.encode())
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    stepped, running = start(stepped=True), start(speed=1)
    arn = stepped.create("a-job")
    before = datetime.fromisoformat(clock(stepped)[1]["now"])
    status, after = clock(stepped, '{"advance_s": 3600}')
    assert (status, after["stepped"], stepped.get(arn)["status"]) == (200, True, "Completed")
    assert datetime.fromisoformat(after["now"]) - before == timedelta(hours=1)
    for body in ('{"advance_s": -1}', "{}", "[]", '{"advance_s": 1, "more": 2}'):
        assert clock(stepped, body)[0] == 400
    assert clock(running)[1]["stepped"] is False
    assert clock(running, '{"advance_s": 1}')[0] == 400


def test_late_manifest(start: StartLab) -> None:
    """The manifest appears after the job's end, when it is due, also when the emulator was restarted in between."""
    lab = start(stepped=True)
    lab.faults(late_manifest_s=600)
    arn = lab.create("a-job")
    lab.emulator.advance(500)
    assert lab.get(arn)["status"] == "Completed"
    assert lab.output_names(arn) == ["default.jsonl.out"]
    lab.emulator.advance(300)
    assert lab.output_names(arn) == ["default.jsonl.out"]
    lab.emulator.close()
    again = start(stepped=True)
    again.emulator.advance(871)
    assert again.output_names(arn) == ["default.jsonl.out", "manifest.json.out"]
    assert again.manifest(arn)["successRecordCount"] == 20


def test_truncated_file(lab: Lab) -> None:
    """The output ends in the middle of a line, though counts and manifest say that all went well."""
    lab.faults(truncate_after=0.4)
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(100)))
    assert lab.wait(arn)["successRecordCount"] == 100
    *whole, last = lab.raw_lines(arn, "x.jsonl.out")
    assert [json.loads(line)["recordId"] is not None for line in whole] == [True] * 40
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)
    assert lab.manifest(arn)["successRecordCount"] == 100


def test_early_output(stepped_lab: Lab) -> None:
    """With early_output a file can be read, and grows, while the job runs; without it there is none until the end."""
    lab = stepped_lab
    uri = lab.put("in/x.jsonl", records(500))
    whole = lab.create("whole-job", uri)
    lab.faults(early_output=True)
    early = lab.create("early-job", uri)
    lab.emulator.advance(150)
    sizes: list[int] = []
    for _ in range(3):
        lab.emulator.advance(30)
        assert lab.get(early)["status"] == "InProgress"
        assert lab.output_names(whole) == []
        assert lab.output_names(early) == ["x.jsonl.out"]
        sizes.append(len(lab.lines(early, "x.jsonl.out")))
        assert lab.get(early)["processedRecordCount"] == sizes[-1]
    assert sizes == [120, 240, 360]
    lab.emulator.advance(60)
    assert lab.get(early)["status"] == "Completed"
    assert len(lab.lines(early, "x.jsonl.out")) == 500


def test_files_of_a_prefix_appear_one_by_one(stepped_lab: Lab) -> None:
    """The first file's output is there while the second is under way."""
    lab = stepped_lab
    for name in ("a", "b"):
        lab.put(f"in/many/{name}.jsonl", records(250))
    arn = lab.create("a-job", f"s3://{BUCKET}/in/many/")
    lab.emulator.advance(150 + 90)
    assert lab.output_names(arn) == ["a.jsonl.out"]
    lab.emulator.advance(90)
    assert lab.output_names(arn) == ["a.jsonl.out", "b.jsonl.out", "manifest.json.out"]


def test_hidden_bucket(stepped_lab: Lab) -> None:
    """A bucket cannot be read for a while after it was first named; a job that comes later can read it."""
    lab = stepped_lab
    lab.faults(bucket_hidden_s=300)
    first = lab.create("first-job")
    lab.emulator.advance(240)
    assert lab.get(first)["status"] == "Failed"
    assert lab.get(first)["message"].startswith("Could not validate ListBucket permissions for S3URI s3://")
    second = lab.create("second-job")
    lab.emulator.advance(31)
    third = lab.create("third-job")
    lab.emulator.advance(1000)
    assert [lab.get(arn)["status"] for arn in (second, third)] == ["Failed", "Completed"]


def test_error_kinds(lab: Lab) -> None:
    """Struck records get one of several errors, each with its own code, message and retryable."""
    kinds = [
        {"code": 429, "message": "slow down", "retryable": True},
        {"code": "400", "message": "bad input", "retryable": False},
        {"code": 500, "message": "sorry"},
    ]
    lab.faults(record_error_rate=0.5, record_error_kinds=kinds)
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(300)))
    job = lab.wait(arn)
    errors = [line["error"] for line in lab.lines(arn, "x.jsonl.out") if "error" in line]
    assert len(errors) == job["errorRecordCount"]
    expected = [
        {"errorCode": 429, "errorMessage": "slow down", "retryable": True},
        {"errorCode": "400", "errorMessage": "bad input", "retryable": False},
        {"errorCode": 500, "errorMessage": "sorry"},
    ]
    counts = [errors.count(one) for one in expected]
    assert sum(counts) == len(errors)
    assert min(counts) > 20


def test_only_errors_is_still_completed(lab: Lab) -> None:
    """A job whose every record is an error ends Completed, with no success in the manifest."""
    lab.faults(record_error_rate=1, record_error_retryable=True)
    arn = lab.create("a-job")
    assert lab.wait(arn)["status"] == "Completed"
    assert all(line["error"]["retryable"] for line in lab.lines(arn))
    assert (lab.manifest(arn)["successRecordCount"], lab.manifest(arn)["errorRecordCount"]) == (0, 20)


def test_settings_over_a_file(tmp_path: Path) -> None:
    """Settings given beside a file take the place of the file's own."""
    path = tmp_path / "faults.json"
    path.write_text('{"seed": 1, "expire": true}')
    assert Faults.from_file(path, {"seed": 2}) == Faults(seed=2, expire=True)
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a JSON object"):
        Faults.from_file(path)
