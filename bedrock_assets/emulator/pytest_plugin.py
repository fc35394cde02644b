"""
pytest fixtures for code that calls Amazon Bedrock batch inference (and InvokeModel, Converse, Service Quotas).

In a `conftest.py`:

    pytest_plugins = ["bedrock_assets.emulator.pytest_plugin"]

A test that uses `bedrock_emulator` has its own emulator. AWS clients find it through the environment:

    def test_my_batch(bedrock_emulator, bedrock_buckets):
        (bedrock_buckets / "my-bucket").mkdir()                           # s3://my-bucket
        (bedrock_buckets / "my-bucket" / "in.jsonl").write_text(...)
        arn = boto3.client("bedrock").create_model_invocation_job(...)["jobArn"]
        bedrock_emulator.advance(3600)                                    # an hour passes; the job is done
        assert boto3.client("bedrock").get_model_invocation_job(jobIdentifier=arn)["status"] == "Completed"

The clock moves only by `advance`. Override the fixture `bedrock_emulator_settings` to change this or any other
field of `EmulatorSettings`. `bedrock_emulator.set_faults(Faults(...))` injects faults.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.emulator.service import Emulator
from bedrock_assets.emulator.settings import ENDPOINT_VARIABLES

_SESSION = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
"""Made-up credentials, so that tests never sign with real ones."""


@pytest.fixture
def bedrock_emulator_settings() -> dict[str, Any]:
    """Fields of `EmulatorSettings`; override the fixture in a test module or a conftest."""
    return {"stepped": True, "min_records": 1}


@pytest.fixture
def bedrock_buckets(tmp_path: Path) -> Path:
    """Folder that holds one folder per bucket; the test creates the buckets it needs."""
    folder = tmp_path / "buckets"
    folder.mkdir()
    return folder


@pytest.fixture
def bedrock_emulator(
    bedrock_buckets: Path, bedrock_emulator_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Emulator]:
    """An emulator on `bedrock_buckets`, with the environment set so that AWS clients use it."""
    settings: dict[str, Any] = {
        "store": str(bedrock_buckets),
        "db": tmp_path / "bedrock.sqlite",
    } | bedrock_emulator_settings
    with Emulator(**settings) as emulator:
        for name in ENDPOINT_VARIABLES:
            monkeypatch.setenv(name, emulator.endpoint_url)
        for name, value in _SESSION.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
            monkeypatch.delenv(name, raising=False)
        yield emulator
