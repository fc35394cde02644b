"""The protocol: what boto3 sends is understood, what AWS would refuse is refused in its words."""

import http.client
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.emulator.lab import BUCKET, HAIKU, ROLE, Lab, StartLab, connect


def call(lab: Lab, method: str, path: str, body: str = "") -> tuple[int, str | None, Any]:
    """Send a raw request: (HTTP status, x-amzn-ErrorType, JSON body)."""
    connection = http.client.HTTPConnection(urlsplit(lab.emulator.endpoint_url).netloc, timeout=5)
    connection.request(method, path, body)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, response.getheader("x-amzn-ErrorType"), json.loads(text)


def uris(input_uri: str, output_uri: str = f"s3://{BUCKET}/out") -> dict[str, Any]:
    """The two data configs of a Create request."""
    return {
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_uri}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": output_uri}},
    }


def test_get_returns_what_create_was_given(slow_lab: Lab) -> None:
    """A created job is returned with its request, its status and its times."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    arn = slow_lab.create("a-job", timeoutDurationInHours=48, clientRequestToken="token-1")
    job = slow_lab.get(arn)
    assert arn.startswith("arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/")
    assert (job["jobName"], job["modelId"], job["roleArn"]) == ("a-job", HAIKU, ROLE)
    assert (job["status"], job["clientRequestToken"], job["modelInvocationType"]) == (
        "Submitted",
        "token-1",
        "InvokeModel",
    )
    assert before < job["submitTime"] < datetime.now(UTC) + timedelta(seconds=1)
    assert job["jobExpirationTime"] - job["submitTime"] == timedelta(hours=48)
    assert job["totalRecordCount"] == 0
    assert "endTime" not in job


@pytest.mark.parametrize("encode", [True, False])
@pytest.mark.parametrize("short", [True, False])
def test_job_identifiers(slow_lab: Lab, encode: bool, short: bool) -> None:
    """A job is found by its ARN or short id, percent-encoded or not, and can be stopped by it."""
    arn = slow_lab.create("a-job")
    identifier = arn.rsplit("/", 1)[-1] if short else arn
    path = f"/model-invocation-job/{quote(identifier, safe='') if encode else identifier}"
    status, _, job = call(slow_lab, "GET", path)
    assert (status, job["jobArn"]) == (200, arn)
    assert job["submitTime"].endswith("Z")
    assert call(slow_lab, "POST", f"{path}/stop") == (200, None, {})


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"jobName": "under_score"}, "jobName"),
        ({"jobName": "a" + "-" * 61 + "_"}, "jobName"),
        ({"roleArn": "batch-role"}, "roleArn"),
        ({"modelId": "no such model"}, "modelId"),
        ({"clientRequestToken": "-starts-with-a-hyphen"}, "clientRequestToken"),
        (uris("s3://data-bucket/shard=1/in.jsonl"), "inputDataConfig.s3InputDataConfig.s3Uri"),
        (uris("s3://data-bucket//in.jsonl"), "inputDataConfig.s3InputDataConfig.s3Uri"),
        (uris("s3://data-bucket/in.jsonl", "s3://data-bucket/a b/"), "outputDataConfig.s3OutputDataConfig.s3Uri"),
        ({"modelInvocationType": "Stream"}, "modelInvocationType"),
        ({"timeoutDurationInHours": 169}, "timeoutDurationInHours"),
        ({"tags": [{"key": "k!", "value": "v"}]}, "tags.1.member.key"),
    ],
)
def test_constraints_of_create(still_lab: Lab, change: dict[str, Any], member: str) -> None:
    """Each pattern, enum and bound of the service model is enforced, and the message names the member."""
    with pytest.raises(still_lab.client.exceptions.ValidationException) as refusal:
        still_lab.create("a-job", **change) if "jobName" not in change else still_lab.create(change["jobName"])
    assert f"at '{member}' failed to satisfy constraint" in refusal.value.response["Error"]["Message"]
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_all_broken_constraints_are_listed(slow_lab: Lab) -> None:
    """Members that are missing are named too, which boto3 would not let through."""
    status, kind, body = call(
        slow_lab,
        "POST",
        "/model-invocation-job",
        '{"jobName": "a_b", "inputDataConfig": {}, "timeoutDurationInHours": 23}',
    )
    assert (status, kind) == (400, "ValidationException")
    assert body["message"].startswith("6 validation errors detected: ")
    assert "Value null at 'roleArn' failed to satisfy constraint: Member must not be null" in body["message"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '{"jobName": 7}',
        '{"timeoutDurationInHours": true}',
        "\x00",
        "NaN",
        '{"roleArn": "\\ud800"}',
        '{"x": 1e999}',
    ],
)
def test_bodies_that_are_no_request(still_lab: Lab, body: str) -> None:
    """A body that is not the JSON that is expected gets a 400, never a 500."""
    status, kind, _ = call(still_lab, "POST", "/model-invocation-job", body)
    assert (status, kind) in ((400, "SerializationException"), (400, "ValidationException"))


def test_unknown_job_model_and_operation(slow_lab: Lab) -> None:
    """What does not exist is refused with the error AWS gives."""
    client = slow_lab.client
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        slow_lab.get("arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghij12")
    with pytest.raises(client.exceptions.ValidationException, match="jobIdentifier"):
        slow_lab.get("NOT-AN-ID")
    with pytest.raises(client.exceptions.ValidationException, match="not supported for the requested model"):
        slow_lab.create("a-job", model="stability.image-v1:0")
    with pytest.raises(ClientError, match="UnknownOperation"):
        client.list_guardrails()


def test_relative_segments_are_refused(slow_lab: Lab) -> None:
    """No location can lead out of the store."""
    for change in (
        uris("s3://data-bucket/../other/in.jsonl"),
        uris("s3://data-bucket/in.jsonl", "s3://data-bucket/.."),
    ):
        with pytest.raises(slow_lab.client.exceptions.ValidationException, match="relative path"):
            slow_lab.create("a-job", **change)


def test_list_filters(start: StartLab) -> None:
    """List filters by part of the name, status and submit time, which are real times."""
    lab = start(speed=1)
    first = lab.create("alpha-1")
    middle = lab.get(first)["submitTime"] + timedelta(milliseconds=1)
    for name in ("alpha-2", "beta-1"):
        lab.create(name)
    lab.client.stop_model_invocation_job(jobIdentifier=first)

    def names(**query: Any) -> list[str]:
        return [job["jobName"] for job in lab.client.list_model_invocation_jobs(**query)["invocationJobSummaries"]]

    assert names() == ["beta-1", "alpha-2", "alpha-1"]
    assert names(sortBy="CreationTime", sortOrder="Ascending") == ["alpha-1", "alpha-2", "beta-1"]
    assert names(nameContains="alpha") == ["alpha-2", "alpha-1"]
    assert names(statusEquals="Submitted", nameContains="alpha") == ["alpha-2"]
    assert names(submitTimeAfter=middle) == ["beta-1", "alpha-2"]
    assert names(submitTimeBefore=middle) == ["alpha-1"]


def test_paginator(start: StartLab) -> None:
    """The paginator yields every job once, in either order, also when jobs are created in between."""
    lab = start(speed=1, limits=None)
    lab.put("in/default.jsonl", [])
    for i in range(7):
        lab.create(f"job-{i}")
    for order in ("Ascending", "Descending"):
        pages = lab.client.get_paginator("list_model_invocation_jobs").paginate(sortOrder=order, maxResults=2)
        found: list[str] = []
        for page in pages:
            assert len(page["invocationJobSummaries"]) <= 2
            found += [job["jobName"] for job in page["invocationJobSummaries"]]
            if order == "Descending" and len(found) == 2:
                lab.create("late")
        expected = [f"job-{i}" for i in range(7)]
        assert found == (expected if order == "Ascending" else expected[::-1])


def test_bad_queries(slow_lab: Lab) -> None:
    """Bounds of maxResults, foreign page tokens, bad times and statuses are refused."""
    for name in ("job-1", "job-2"):
        slow_lab.create(name)
    token = slow_lab.client.list_model_invocation_jobs(maxResults=1)["nextToken"]
    for query in (
        "maxResults=0",
        "maxResults=1001",
        "maxResults=many",
        "nextToken=nonsense",
        f"nextToken={quote(token)}&nameContains=job",
        "submitTimeAfter=yesterday",
        "statusEquals=Done",
        "sortBy=Name",
        "nameContains=a_b",
    ):
        status, kind, _ = call(slow_lab, "GET", f"/model-invocation-jobs?{query}")
        assert (status, kind) in ((400, "ValidationException"), (400, "SerializationException")), query


def test_regions_are_apart(start: StartLab) -> None:
    """A job lives in the Region that its request was signed for."""
    lab = start(speed=1, region="eu-west-1")
    arn = lab.create("a-job")
    assert arn.split(":")[3] == "eu-west-1"
    other = Lab(lab.emulator, connect(lab.emulator.endpoint_url, "us-west-2"), lab.world)
    assert other.client.list_model_invocation_jobs()["invocationJobSummaries"] == []
    with pytest.raises(other.client.exceptions.ValidationException):
        other.get(arn)


def test_page_and_health(slow_lab: Lab) -> None:
    """People get a page with the jobs in it, escaped; load balancers get a health check."""
    slow_lab.create("a-job")
    assert call(slow_lab, "GET", "/health") == (200, None, {"status": "ok"})
    connection = http.client.HTTPConnection(urlsplit(slow_lab.emulator.endpoint_url).netloc, timeout=5)
    connection.request("GET", "/")
    page = connection.getresponse().read().decode()
    connection.close()
    assert "a-job" in page
    assert "Submitted" in page


def test_a_hanging_call_does_not_hold_up_the_end(start: StartLab) -> None:
    """Calls that would wait for an hour are given up some seconds after the emulator was asked to end."""
    lab = start(speed=1)
    lab.faults(latency_s=3600)
    host = urlsplit(lab.emulator.endpoint_url).netloc
    caller = http.client.HTTPConnection(host, timeout=60)
    caller.request("GET", "/model-invocation-jobs")
    time.sleep(0.2)
    began = time.monotonic()
    lab.emulator.close()
    assert time.monotonic() - began < 30
    caller.close()
