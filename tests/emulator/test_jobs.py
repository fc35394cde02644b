"""Creating and stopping jobs: tokens, names, quotas, lives."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.clock import Clock
from bedrock_assets.emulator.database import Database
from bedrock_assets.emulator.events import JobEvents
from bedrock_assets.emulator.jsontypes import JsonObject
from bedrock_assets.emulator.models import IN_FLIGHT
from bedrock_assets.emulator.runner import Runner
from bedrock_assets.emulator.settings import EmulatorSettings
from bedrock_assets.emulator.storage import Buckets
from tests.emulator.lab import BUCKET, HAIKU, Lab, StartLab, limits, records


def test_the_same_token_creates_one_job(slow_lab: Lab) -> None:
    """A repeated request with its token returns the same job, also past the quota, and creates none."""
    arn = slow_lab.create("a-job", clientRequestToken="token-1")
    assert slow_lab.create("a-job", clientRequestToken="token-1") == arn
    assert len(slow_lab.client.list_model_invocation_jobs()["invocationJobSummaries"]) == 1


def test_another_request_with_a_used_token_is_ignored(slow_lab: Lab) -> None:
    """As botocore documents it, another request with a used token is answered with the first one's job."""
    arn = slow_lab.create("a-job", clientRequestToken="token-1")
    assert slow_lab.create("another-job", clientRequestToken="token-1") == arn
    assert [job["jobName"] for job in slow_lab.client.list_model_invocation_jobs()["invocationJobSummaries"]] == [
        "a-job"
    ]


def test_another_request_with_a_used_token_can_be_a_conflict(start: StartLab) -> None:
    """With `token_conflicts` it is refused; the same request is still answered with its job."""
    lab = start(speed=1, token_conflicts=True)
    arn = lab.create("a-job", clientRequestToken="token-1")
    with pytest.raises(lab.client.exceptions.ConflictException):
        lab.create("another-job", clientRequestToken="token-1")
    assert lab.create("a-job", clientRequestToken="token-1") == arn


def test_a_token_expires_after_its_job(start: StartLab) -> None:
    """A client that sends one token for ever gets a job of its own again, once the one before is old and has ended."""
    lab = start(stepped=True, token_hours=2)
    first = lab.create("a-job", clientRequestToken="token-1")
    lab.wait(first)
    assert lab.create("b-job", clientRequestToken="token-1") == first
    lab.emulator.advance(7200)
    second = lab.create("b-job", clientRequestToken="token-1")
    assert second != first
    assert lab.create("c-job", clientRequestToken="token-1") == second
    assert lab.get(first)["status"] == "Completed"


def test_the_token_of_a_job_in_flight_does_not_expire(start: StartLab) -> None:
    """However old it is, the token of a job that has not ended is its own."""
    lab = start(speed=1, token_hours=1e-6)
    waiting = lab.create("a-job", clientRequestToken="token-1")
    time.sleep(0.05)
    assert lab.create("a-job", clientRequestToken="token-1") == waiting
    assert lab.get(waiting)["status"] == "Submitted"


def test_names_stay_in_use(lab: Lab) -> None:
    """A name is refused while its job runs, and after."""
    arn = lab.create("a-job")
    for _ in range(2):
        with pytest.raises(
            lab.client.exceptions.ConflictException, match="The provided job name is currently in use\\."
        ):
            lab.create("a-job")
        lab.wait(arn)


def test_names_can_be_made_reusable(start: StartLab) -> None:
    """With `reuse_names` an ended job's name is free again."""
    lab = start(reuse_names=True)
    lab.wait(lab.create("a-job"))
    assert lab.wait(lab.create("a-job"))["status"] == "Completed"


def test_quota_refuses(start: StartLab) -> None:
    """Past the quota Create is refused, per model whatever the spelling of its id, until a job ends."""
    lab = start(stepped=True, limits=limits(max_jobs=2))
    first = lab.create("job-1")
    lab.create("job-2", model=f"us.{HAIKU}")
    with pytest.raises(lab.client.exceptions.ServiceQuotaExceededException):
        lab.create("job-3", model=f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}")
    lab.create("job-4", model="amazon.nova-lite-v1:0")
    lab.client.stop_model_invocation_job(jobIdentifier=first)
    lab.wait(first)
    lab.create("job-5")


def test_quota_queues(start: StartLab) -> None:
    """In mode `queue` jobs past the quota wait as Submitted, and all of them complete."""
    lab = start(stepped=True, queue=True, limits=limits(max_jobs=2))
    for i in range(6):
        lab.create(f"job-{i}")
    statuses: list[str] = []
    while not statuses or set(statuses) != {"Completed"}:
        # one call is one snapshot of all jobs
        statuses = [job["status"] for job in lab.client.list_model_invocation_jobs()["invocationJobSummaries"]]
        assert set(statuses) <= {"Submitted", "Validating", "Scheduled", "InProgress", "Completed"}
        assert sum(status in ("Validating", "Scheduled", "InProgress") for status in statuses) <= 2
        lab.go_on(5)


def test_life_of_a_job(start: StartLab) -> None:
    """A job passes through its statuses in order, with counts that only grow."""
    lab = start(stepped=True)
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(500)))
    seen: list[str] = []
    counts: list[int] = []
    while not seen or seen[-1] != "Completed":
        job = lab.get(arn)
        seen += [job["status"]] if job["status"] not in seen[-1:] else []
        counts.append(job["processedRecordCount"])
        assert job["processedRecordCount"] == job["successRecordCount"] + job["errorRecordCount"]
        lab.go_on(5)
    assert seen == ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2, "the counts are live"
    job = lab.get(arn)
    assert (job["totalRecordCount"], job["processedRecordCount"]) == (500, 500)
    assert job["submitTime"] < job["endTime"] <= job["lastModifiedTime"]


def test_stop_before_the_start(start: StartLab) -> None:
    """A job that is stopped while it waits ends Stopped without output; stopping it again is a conflict."""
    lab = start(stepped=True)
    arn = lab.create("a-job")
    for _ in range(2):
        lab.client.stop_model_invocation_job(jobIdentifier=arn)
        assert lab.get(arn)["status"] == "Stopping"
    assert "endTime" in lab.wait(arn)
    assert lab.get(arn)["status"] == "Stopped"
    assert not lab.output_names(arn)
    with pytest.raises(lab.client.exceptions.ConflictException, match="already ended"):
        lab.client.stop_model_invocation_job(jobIdentifier=arn)


def test_stop_keeps_what_was_processed(start: StartLab) -> None:
    """A job that is stopped under way has output for the records it processed, and a manifest that says so."""
    lab = start(stepped=True)
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(3000)))
    while not 0 < lab.get(arn)["processedRecordCount"] < 3000:
        lab.go_on()
    lab.client.stop_model_invocation_job(jobIdentifier=arn)
    job = lab.wait(arn)
    n_records = job["processedRecordCount"]
    assert job["status"] == "Stopped"
    assert 0 < n_records < 3000
    assert len(lab.lines(arn, "x.jsonl.out")) == n_records == lab.manifest(arn)["processedRecordCount"]


def test_a_timeout_expires_what_waits(tmp_path: Path) -> None:
    """A job that has not started when its timeout is over expires; at this speed 24 h take 86 ms."""
    database = Database(tmp_path / "jobs.sqlite")
    backend = Backend(database, Clock(1_000_000), EmulatorSettings(store="", limits=limits(), any_model=True))
    region = {"s3Uri": f"s3://{BUCKET}/x"}
    request: JsonObject = {
        "jobName": "a-job",
        "modelId": HAIKU,
        "inputDataConfig": {"s3InputDataConfig": {**region}},
        "outputDataConfig": {"s3OutputDataConfig": {**region}},
    }
    job = backend.create(request, "us-east-1")
    time.sleep(0.1)
    runner = Runner(backend, Buckets(str(tmp_path)), JobEvents(database, None))
    runner.start()
    while (job := backend.get(job.job_id, job.region)).status in IN_FLIGHT:
        time.sleep(0.01)
    runner.stop()
    database.close()
    assert job.status == "Expired"


@pytest.mark.parametrize(
    ("key", "rows", "message"),
    [
        ("in/none.jsonl", None, "Could not validate ListBucket permissions"),
        ("in/rows.json", records(5), "not a JSONL file"),
        ("in/broken.jsonl", '{"recordId": "a", "modelInput": {}}\n{"recordId"\n' * 5, "malformed record at line 2"),
        ("in/list.jsonl", "[]\n" * 9, "malformed record at line 1"),
        ("in/input.jsonl", '{"recordId": "a", "modelInput": "text"}\n' * 9, "malformed record at line 1"),
        ("in/id.jsonl", '{"recordId": 1, "modelInput": {}}\n' * 9, "recordId is not a string"),
        ("in/few.jsonl", records(4), r"Batch job contains less records \(4\) than the required minimum of: 5"),
        ("in/empty.jsonl", "", r"Batch job contains less records \(0\) than the required minimum of: 5"),
        ("in/many.jsonl", records(41), r"Batch job contains more records \(41\)"),
        ("in/large.jsonl", records(30), "more than the allowed maximum of: 5000"),
    ],
)
def test_validation_fails_a_job(start: StartLab, key: str, rows: Any, message: str) -> None:
    """An input that breaks a rule is found while Validating; the job's message says what is wrong."""
    lab = start(limits=limits(min_records_per_job=5, max_records_per_job=40, max_bytes_per_file=5000))
    if key == "in/many.jsonl":
        rows = [{"recordId": str(i), "modelInput": {}} for i in range(41)]
    uri = f"s3://{BUCKET}/{key}" if rows is None else lab.put(key, rows)
    job = lab.wait(lab.create("a-job", uri))
    assert job["status"] == "Failed"
    assert re.search(message, job["message"])
    assert job["totalRecordCount"] == 0


def test_buckets_must_exist(lab: Lab) -> None:
    """A bucket that is missing fails the job, on either side."""
    output = {"s3OutputDataConfig": {"s3Uri": "s3://no-such-bucket/out"}}
    assert "PutObject" in lab.wait(lab.create("job-1", outputDataConfig=output))["message"]
    assert "GetObject" in lab.wait(lab.create("job-2", "s3://no-such-bucket/in.jsonl"))["message"]
