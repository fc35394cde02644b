"""Each fault, alone: what it does, that it strikes the same each time, and whom it spares."""

import http.client
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from bedrock_assets.emulator import Faults
from tests.emulator.lab import Lab, records


def error_code(error: pytest.ExceptionInfo[ClientError]) -> str:
    """AWS's name of an error."""
    return error.value.response["Error"]["Code"]


@pytest.mark.parametrize(
    ("faults", "code", "status"),
    [
        ({"throttle_rate": 1}, "ThrottlingException", 429),
        ({"server_error_rate": 1}, "InternalServerException", 500),
        ({"access_denied": True}, "AccessDeniedException", 403),
    ],
)
def test_refused_calls_have_no_effect(slow_lab: Lab, faults: dict[str, float], code: str, status: int) -> None:
    """A call that is struck is refused with AWS's error and creates nothing."""
    slow_lab.faults(**faults)
    with pytest.raises(ClientError) as error:
        slow_lab.create("a-job")
    assert error_code(error) == code
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    slow_lab.faults()
    assert slow_lab.client.list_model_invocation_jobs()["invocationJobSummaries"] == []


def test_rates_are_rates(slow_lab: Lab) -> None:
    """A rate of one half strikes about half of the calls."""
    slow_lab.faults(throttle_rate=0.5)
    struck = 0
    for _ in range(200):
        try:
            slow_lab.client.list_model_invocation_jobs()
        except ClientError:
            struck += 1
    assert 60 < struck < 140


def test_a_lost_response_leaves_a_job(slow_lab: Lab) -> None:
    """The call fails although the job exists; the same call with the same token then finds it."""
    slow_lab.faults(lost_response_rate=1)
    with pytest.raises(ClientError) as error:
        slow_lab.create("a-job", clientRequestToken="token-1")
    assert error_code(error) == "InternalServerException"
    slow_lab.faults()
    (job,) = slow_lab.client.list_model_invocation_jobs()["invocationJobSummaries"]
    assert slow_lab.create("a-job", clientRequestToken="token-1") == job["jobArn"]


def test_latency(slow_lab: Lab) -> None:
    """Every call waits for latency_s."""
    slow_lab.faults(latency_s=0.2)
    start = time.monotonic()
    slow_lab.client.list_model_invocation_jobs()
    assert time.monotonic() - start >= 0.2


def test_only_some_operations(slow_lab: Lab) -> None:
    """With only_operations other calls are spared."""
    slow_lab.faults(throttle_rate=1, only_operations=["Create"])
    slow_lab.client.list_model_invocation_jobs()
    with pytest.raises(ClientError):
        slow_lab.create("a-job")


def test_record_errors(lab: Lab) -> None:
    """The given share of records ends in error lines with the given code and message."""
    lab.faults(record_error_rate=0.25, record_error_code="429", record_error_message="slow down")
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(400)))
    job = lab.wait(arn)
    errors = [line["error"] for line in lab.lines(arn, "x.jsonl.out") if "error" in line]
    assert errors == [{"errorCode": "429", "errorMessage": "slow down"}] * job["errorRecordCount"]
    assert 60 < len(errors) < 140
    assert job["status"] == "Completed"


def test_malformed_missing_and_duplicate_lines(lab: Lab) -> None:
    """Lines are cut short, left out or doubled, though the counts say that all went well."""
    lab.faults(malformed_line_rate=0.1, missing_record_rate=0.1, duplicate_record_rate=0.1)
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(400)))
    assert lab.wait(arn)["successRecordCount"] == 400
    lines = lab.raw_lines(arn, "x.jsonl.out")
    malformed = sum(not line.endswith("}") for line in lines)
    ids = [json.loads(line)["recordId"] for line in lines if line.endswith("}")]
    assert 10 < malformed < 80
    assert 10 < len(ids) - len(set(ids)) < 80
    assert 320 < len(set(lines)) < 390


@pytest.mark.parametrize("mark", [False, True])
def test_partial_completion(lab: Lab, mark: bool) -> None:
    """A share of the records is processed; the others are absent or marked as expired."""
    lab.faults(partial_fraction=0.25, mark_expired=mark)
    arn = lab.create("a-job", lab.put("in/x.jsonl", records(400)))
    job = lab.wait(arn)
    assert (job["status"], job["totalRecordCount"], job["processedRecordCount"]) == ("PartiallyCompleted", 400, 100)
    lines = lab.lines(arn, "x.jsonl.out")
    assert sum("modelOutput" in line for line in lines) == 100
    assert sum(line.get("error", {}).get("expired", False) for line in lines) == (300 if mark else 0)
    assert lab.manifest(arn)["processedRecordCount"] == 100


@pytest.mark.parametrize("mark", [False, True])
def test_expiry(lab: Lab, mark: bool) -> None:
    """A job expires from Scheduled, without output unless the records are marked."""
    lab.faults(expire=True, mark_expired=mark)
    arn = lab.create("a-job")
    job = lab.wait(arn)
    assert (job["status"], job["processedRecordCount"]) == ("Expired", 0)
    assert "expired" in job["message"]
    assert bool(lab.output_names(arn)) == mark
    assert not mark or len(lab.lines(arn)) == 20


def test_failure_while_validating(lab: Lab) -> None:
    """A job fails with the given message and leaves nothing."""
    lab.faults(fail_message="Access denied to the bucket")
    arn = lab.create("a-job")
    assert (lab.wait(arn)["status"], lab.get(arn)["message"]) == ("Failed", "Access denied to the bucket")
    assert not lab.output_names(arn)


def test_failure_with_output(lab: Lab) -> None:
    """A job fails late, with the share of the output it had made and without a manifest."""
    lab.faults(fail_message="Customer doesn't have permissions", fail_at="InProgress", partial_fraction=0.5)
    arn = lab.create("a-job")
    assert lab.wait(arn)["status"] == "Failed"
    assert len(lab.lines(arn)) == 10
    assert lab.output_names(arn) == ["default.jsonl.out"]


def test_missing_manifest(lab: Lab) -> None:
    """A job completes without a manifest."""
    lab.faults(missing_manifest=True)
    arn = lab.create("a-job")
    assert lab.wait(arn)["status"] == "Completed"
    assert lab.output_names(arn) == ["default.jsonl.out"]


def test_filters(lab: Lab) -> None:
    """Faults strike only jobs with the names and models they are for, whatever is set later."""
    lab.faults(fail_message="no", only_names="^bad-", only_models="haiku")
    arns = [lab.create("good-1"), lab.create("bad-1"), lab.create("bad-2", model="amazon.nova-lite-v1:0")]
    lab.faults()
    assert [lab.wait(arn)["status"] for arn in arns] == ["Completed", "Failed", "Completed"]


def test_the_knob(slow_lab: Lab, tmp_path: Path) -> None:
    """PUT /admin/faults replaces the faults, GET returns them, nonsense is refused and changes nothing."""

    def knob(method: str, body: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection(urlsplit(slow_lab.emulator.endpoint_url).netloc, timeout=5)
        connection.request(method, "/admin/faults", body)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    assert knob("PUT", '{"throttle_rate": 1, "seed": 4}')[0] == 200
    assert knob("PUT", '{"throttle_rate": 2}')[0] == 400
    assert knob("PUT", '{"trottle_rate": 1}')[0] == 400
    assert Faults.model_validate_json(knob("GET")[1]) == Faults(throttle_rate=1, seed=4)
    with pytest.raises(ClientError):
        slow_lab.create("a-job")


def test_faults_from_a_file(tmp_path: Path) -> None:
    """A JSON file sets faults; a pattern that does not compile is refused by name."""
    path = tmp_path / "faults.json"
    path.write_text('{"only_names": "^a", "expire": true}')
    assert Faults.from_file(path) == Faults(only_names="^a", expire=True)
    path.write_text('{"only_names": "("}')
    with pytest.raises(ValidationError, match="only_names"):
        Faults.from_file(path)
