"""What the tests share: an emulator on a free port, a bucket on disk, and an unmodified boto3 client."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import boto3
from botocore.config import Config
from mypy_boto3_bedrock import BedrockClient
from mypy_boto3_bedrock.type_defs import GetModelInvocationJobResponseTypeDef

from bedrock_assets.emulator import Emulator, Faults
from bedrock_assets.limits import JobLimits
from tests.emulator.worlds import World

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
TITAN_EMBED = "amazon.titan-embed-text-v2:0"
ROLE = "arn:aws:iam::123456789012:role/batch"
BUCKET = "data-bucket"
ENDED = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")

Row = dict[str, Any]


def limits(**settings: int) -> JobLimits:
    """Quotas that let small jobs through."""
    return JobLimits.model_validate({"min_records_per_job": 1, **settings})


@lru_cache(maxsize=1)
def _session() -> boto3.Session:
    """One session for all tests: reading the service model takes longer than most of them."""
    return boto3.Session()


def connect(endpoint_url: str, region: str = "us-east-1") -> BedrockClient:
    """A boto3 client that does not retry, so that each refusal is seen."""
    return connect_to("bedrock", endpoint_url, region)


def connect_to(service: str, endpoint_url: str, region: str = "us-east-1") -> Any:
    """The same for any service that the emulator speaks."""
    return _session().client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


def records(n: int) -> list[Row]:
    """Valid records for Claude, each with a text of its own."""
    return [record(f"rec{i:05d}", f"Call {i}. The parcel number {i} never arrived.") for i in range(n)]


def record(record_id: str, text: str) -> Row:
    """One valid record for Claude."""
    content = [{"type": "text", "text": text}]
    model_input = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": content}],
    }
    return {"recordId": record_id, "modelInput": model_input}


@dataclass
class Lab:
    """One emulator and what belongs to it."""

    emulator: Emulator
    client: BedrockClient
    world: World

    def put(self, key: str, rows: Iterable[Mapping[str, Any]] | str) -> str:
        """Write an input file; its S3 URI."""
        text = rows if isinstance(rows, str) else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self.world.put(BUCKET, key, text.encode())
        return f"s3://{BUCKET}/{key}"

    def create(self, name: str, uri: str | None = None, model: str = HAIKU, **more: Any) -> str:
        """Create a job over *uri*, by default a file of 20 records; its ARN."""
        uri = uri or self.put("in/default.jsonl", records(20))
        request: Row = {
            "jobName": name,
            "roleArn": ROLE,
            "modelId": model,
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": uri}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out/"}},
        }
        return self.client.create_model_invocation_job(**(request | more))["jobArn"]

    def get(self, arn: str) -> GetModelInvocationJobResponseTypeDef:
        """The job as Get returns it."""
        return self.client.get_model_invocation_job(jobIdentifier=arn)

    def wait(self, arn: str, *statuses: str, timeout_s: float = 20) -> GetModelInvocationJobResponseTypeDef:
        """Wait until the job has one of these statuses, by default until it has ended."""
        deadline = time.monotonic() + timeout_s
        while (job := self.get(arn)).get("status") not in (statuses or ENDED):
            assert time.monotonic() < deadline, f"the job is still {job.get('status')}"
            self.go_on(1 if statuses else 5)
        return job

    def go_on(self, seconds: float = 1) -> None:
        """Let some time pass: so much of a stepped clock, which goes on here and nowhere else, or a moment."""
        if self.emulator and self.emulator.backend.clock.stepped:
            self.emulator.advance(seconds)
        else:
            time.sleep(0.03)

    def output_names(self, arn: str) -> list[str]:
        """Names of the objects that the job has written."""
        return self.world.names(BUCKET, f"out/{arn.rsplit('/', 1)[-1]}/")

    def output(self, arn: str, name: str = "default.jsonl.out") -> bytes:
        """An object that the job has written."""
        return self.world.get(BUCKET, f"out/{arn.rsplit('/', 1)[-1]}/{name}")

    def raw_lines(self, arn: str, name: str = "default.jsonl.out") -> list[str]:
        """The lines of an output file."""
        return self.output(arn, name).decode().removesuffix("\n").split("\n")

    def lines(self, arn: str, name: str = "default.jsonl.out") -> list[Row]:
        """The lines of an output file, parsed."""
        return [json.loads(line) for line in self.raw_lines(arn, name)]

    def manifest(self, arn: str) -> dict[str, int]:
        """The job's manifest."""
        return json.loads(self.output(arn, "manifest.json.out"))

    def faults(self, **settings: Any) -> None:
        """Inject faults from now on."""
        self.emulator.set_faults(Faults.model_validate(settings))


class StartLab(Protocol):
    """Starts a lab; the settings are those of `Emulator`."""

    def __call__(self, *, region: str = "us-east-1", **settings: Any) -> Lab: ...
