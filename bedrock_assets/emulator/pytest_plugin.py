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

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.emulator.service import Emulator
from bedrock_assets.emulator.session import clients_use


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
    bedrock_buckets: Path, bedrock_emulator_settings: dict[str, Any], tmp_path: Path
) -> Generator[Emulator]:
    """An emulator on `bedrock_buckets`, with the environment set so that AWS clients use it."""
    places: dict[str, Any] = {"store": str(bedrock_buckets), "db": tmp_path / "bedrock.sqlite"}
    with Emulator(**(places | bedrock_emulator_settings)) as emulator, clients_use(emulator.endpoint_url):
        yield emulator
