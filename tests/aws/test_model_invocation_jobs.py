"""The client of the four operations, against the emulator over HTTP."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest
from botocore.config import Config

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.model_invocation_jobs import Bedrock, NewJob
from bedrock_assets.emulator import Emulator, Faults
from bedrock_assets.errors import BedrockError, BedrockUnavailable
from bedrock_assets.limits import JobLimits
from tests.labs.stages import HAIKU

ROLE = "arn:aws:iam::123456789012:role/batch"
RECORD = '{"recordId":"a","modelInput":{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[]}}\n'


def connect(endpoint_url: str) -> Bedrock:
    """A client that does not retry, so that each refusal is seen."""
    return Bedrock(
        boto3.client(
            "bedrock",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2),
        ),
        ROLE,
    )


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator for the whole module, whose jobs take some milliseconds; each test has job names of its own."""
    folder = tmp_path_factory.mktemp("bedrock")
    (folder / "bucket").mkdir()
    (folder / "bucket" / "in.jsonl").write_text(RECORD)
    limits = JobLimits(min_records_per_job=1, max_jobs=50)
    with Emulator(str(folder), folder / "jobs.sqlite", speed=10_000, limits=limits, any_model=True) as running:
        yield running


@pytest.fixture
def bedrock(emulator: Emulator) -> Iterator[Bedrock]:
    """A client of it; faults that a test sets are gone after it."""
    opened = connect(emulator.endpoint_url)
    yield opened
    opened.client.close()
    emulator.set_faults(Faults())


def new(name: str, **changes: object) -> NewJob:
    """What to create."""
    job = NewJob(name, HAIKU, "s3://bucket/in.jsonl", f"s3://bucket/out/{name}", "InvokeModel", 72)
    return replace(job, **changes)  # type: ignore[arg-type]


def ended(bedrock: Bedrock, arn: str) -> Job:
    """The job, once it has ended."""
    while (job := bedrock.get(arn)).status.in_flight:
        time.sleep(0.01)
    return job


def named(bedrock: Bedrock, name: str) -> list[str]:
    """ARNs of the jobs whose name contains *name*."""
    return [job.arn for job in bedrock.list(name_contains=name)]


def test_a_job(bedrock: Bedrock, emulator: Emulator) -> None:
    """A created job is got and listed with the same facts, and ends with its counts."""
    arn = bedrock.create(new("first-job", model_invocation_type="Converse", timeout_hours=48))
    job = ended(bedrock, arn)
    assert next(iter(bedrock.list(name_contains="first-job"))) == job
    assert (job.arn, job.name, job.model, job.n_total) == (arn, "first-job", HAIKU, 1)
    assert job.n_processed == job.n_success + job.n_error == 1
    assert job.expires_at is not None
    assert job.ended_at is not None
    assert job.submitted_at <= job.ended_at
    assert len(job.id) == 12


def test_a_lost_response_is_no_second_job(bedrock: Bedrock, emulator: Emulator) -> None:
    """A Create that took effect before the client crashed is found again by the same call, and not paid twice."""
    emulator.set_faults(Faults(lost_response_rate=1))
    with pytest.raises(BedrockUnavailable, match="CreateModelInvocationJob of lost-job"):
        bedrock.create(new("lost-job"))
    emulator.set_faults(Faults())
    arn = bedrock.create(new("lost-job"))
    assert named(bedrock, "lost-job") == [arn]


def test_a_name_in_use_is_adopted(bedrock: Bedrock) -> None:
    """Where Bedrock knows the name but not the token, the job of exactly that name is taken."""
    arns = {}
    for name in ("adopted", "adopted-2"):
        arns[name] = bedrock.client.create_model_invocation_job(
            jobName=name,
            roleArn=ROLE,
            modelId=HAIKU,
            inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://bucket/in.jsonl"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
        )["jobArn"]
    assert bedrock.create(new("adopted")) == arns["adopted"]
    assert set(named(bedrock, "adopted")) == set(arns.values())


def test_listing_by_name_and_time(bedrock: Bedrock) -> None:
    """Jobs are listed newest first, of one name or since a time."""
    arns = [bedrock.create(new(f"listed-{i}")) for i in range(3)]
    assert named(bedrock, "listed-") == arns[::-1]
    assert {job.arn for job in bedrock.list(since=datetime.now(UTC) - timedelta(hours=1))} >= set(arns)
    assert list(bedrock.list(since=datetime.now(UTC) + timedelta(hours=1))) == []


def test_stopping(bedrock: Bedrock) -> None:
    """A job in flight is stopped; stopping it again after its end is no error."""
    arn = bedrock.create(new("stopped-job"))
    bedrock.stop(arn)
    assert ended(bedrock, arn).status in (JobStatus.STOPPED, JobStatus.COMPLETED)
    bedrock.stop(arn)


@pytest.mark.parametrize(
    ("faults", "error", "code"),
    [
        (Faults(throttle_rate=1), BedrockUnavailable, "ThrottlingException"),
        (Faults(server_error_rate=1), BedrockUnavailable, "InternalServerException"),
        (Faults(access_denied=True), BedrockError, "AccessDeniedException"),
    ],
)
def test_refusals_of_every_call(
    bedrock: Bedrock, emulator: Emulator, faults: Faults, error: type[BedrockError], code: str
) -> None:
    """Each call tells by its error whether a later one may succeed, and names operation, subject and AWS's code."""
    arn = bedrock.create(new(f"refused-{code[:5]}"))
    emulator.set_faults(faults)
    calls = {
        "CreateModelInvocationJob of x-job": lambda: bedrock.create(new("x-job")),
        "ListModelInvocationJobs of x-job": lambda: list(bedrock.list(name_contains="x-job")),
        "GetModelInvocationJob of arn": lambda: bedrock.get(arn),
        "StopModelInvocationJob of arn": lambda: bedrock.stop(arn),
    }
    for told, call in calls.items():
        with pytest.raises(BedrockError, match=f"{told}.*: {code}: ") as raised:
            call()
        assert type(raised.value) is error
        assert raised.value.retryable == (error is BedrockUnavailable)


@pytest.mark.parametrize(
    "change",
    [{"model": "no-such-model"}, {"input_uri": "s3://bucket/shard=1/in.jsonl"}, {"output_uri": "s3://bucket//out"}],
)
def test_what_bedrock_refuses_for_good(bedrock: Bedrock, change: dict[str, object]) -> None:
    """A model that is none and a URI that S3 would take but Bedrock does not are refused for good, in AWS's words."""
    with pytest.raises(BedrockError, match="CreateModelInvocationJob of bad-job: ValidationException: ") as raised:
        bedrock.create(new("bad-job", **change))
    assert not raised.value.retryable


def test_what_boto3_refuses(bedrock: Bedrock) -> None:
    """A request that boto3 itself does not send is refused for good as well, not tried at every tick."""
    with pytest.raises(
        BedrockError, match=r"(?s)CreateModelInvocationJob of bad-job: .*timeoutDurationInHours"
    ) as raised:
        bedrock.create(new("bad-job", timeout_hours=1))
    assert not raised.value.retryable


def test_a_full_quota_is_waited_for(tmp_path: Path) -> None:
    """Too many jobs in flight is no fault of the request: a later tick tries again."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "in.jsonl").write_text(RECORD)
    limits = JobLimits(min_records_per_job=1, max_jobs=1)
    with Emulator(str(tmp_path), tmp_path / "jobs.sqlite", speed=1, limits=limits, any_model=True) as emulator:
        bedrock = connect(emulator.endpoint_url)
        bedrock.create(new("quota-1"))
        with pytest.raises(BedrockUnavailable, match="ServiceQuotaExceededException"):
            bedrock.create(new("quota-2"))
        bedrock.client.close()


def test_an_input_that_is_not_there(bedrock: Bedrock) -> None:
    """A bucket that Bedrock cannot see fails the job, with the message that people search for."""
    job = ended(bedrock, bedrock.create(new("no-input", input_uri="s3://other-bucket/in.jsonl")))
    assert job.status is JobStatus.FAILED
    assert job.message is not None
    assert job.message.startswith("Could not validate")


class Gateway(BaseHTTPRequestHandler):
    """Answers every request with 502 and a page for people, as a load balancer does."""

    def do_GET(self) -> None:
        self.send_response(502)
        self.end_headers()
        self.wfile.write(b"<html>Bad Gateway</html>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def test_a_gateway_in_the_way() -> None:
    """A server error that is not AWS's own is unavailable as well."""
    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        Thread(target=server.handle_request).start()
        with pytest.raises(BedrockUnavailable, match="ListModelInvocationJobs of all jobs: 502"):
            list(connect(f"http://127.0.0.1:{server.server_port}").list())


def test_nobody_at_the_endpoint() -> None:
    """An endpoint that does not answer is unavailable, not wrong."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(BedrockUnavailable, match=f"ListModelInvocationJobs of all jobs: .*127.0.0.1:{port}"):
        list(connect(f"http://127.0.0.1:{port}").list())
