"""The fixtures that other projects import: somebody else's tests, in a folder of their own, run by pytest."""

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = 'pytest_plugins = ["bedrock_assets.emulator.pytest_plugin"]\n'

TESTS = """
import json
import os

import boto3
import pytest

from bedrock_assets.emulator import Emulator, Faults, emulator

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
BODY = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi."}]}


def create(buckets):
    (buckets / "my-bucket").mkdir(exist_ok=True)
    (buckets / "my-bucket" / "in.jsonl").write_text(json.dumps({"recordId": "a", "modelInput": BODY}))
    return boto3.client("bedrock").create_model_invocation_job(
        jobName="mine",
        roleArn="arn:aws:iam::123456789012:role/batch",
        modelId=HAIKU,
        inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://my-bucket/in.jsonl"}},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://my-bucket/out/"}},
    )["jobArn"]


def status(arn):
    return boto3.client("bedrock").get_model_invocation_job(jobIdentifier=arn)["status"]


def test_a_job_and_a_call(bedrock_emulator, bedrock_buckets):
    arn = create(bedrock_buckets)
    assert status(arn) == "Submitted"
    bedrock_emulator.advance(3600)
    assert status(arn) == "Completed"
    assert len(list((bedrock_buckets / "my-bucket").glob("out/*/in.jsonl.out"))) == 1
    boto3.client("bedrock-runtime").invoke_model(modelId=HAIKU, body=json.dumps(BODY))
    assert [one.answered for one in bedrock_emulator.invocations()] == [1]
    assert boto3.client("service-quotas").list_service_quotas(ServiceCode="bedrock")["Quotas"]


def test_faults_are_the_tests_own(bedrock_emulator, bedrock_buckets):
    bedrock_emulator.set_faults(Faults(fail_message="no"))
    arn = create(bedrock_buckets)
    bedrock_emulator.advance(3600)
    assert status(arn) == "Failed"


def test_one_block(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    with emulator() as running:
        arn = create(running.bucket("my-bucket").parent)
        running.advance(3600)
        assert status(arn) == "Completed"
        folder = running.bucket("my-bucket")
    assert not folder.exists()
    assert os.environ["AWS_PROFILE"] == "mine"
    assert "AWS_ENDPOINT_URL_BEDROCK" not in os.environ


class TestSettings:
    @pytest.fixture
    def bedrock_emulator_settings(self):
        return {"speed": 10_000}

    def test_override(self, bedrock_emulator):
        assert bedrock_emulator.backend.clock.speed == 10_000
        assert bedrock_emulator.backend.limits.min_records_per_job == 100
"""


def test_other_projects_use_the_fixtures(tmp_path: Path) -> None:
    """Tests that know only the plugin pass, in an environment that has no AWS settings at all."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mine.py").write_text(TESTS)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "4 passed" in done.stdout, done.stdout + done.stderr
