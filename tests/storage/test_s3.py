"""The same pipeline with its store in S3: a real server process that speaks the protocol, over HTTP."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError

from bedrock_assets.errors import ConfigError, StoreError
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.local.stack import free_port
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.store import Store
from tests.labs.dispatch import open_lab

REGION = "us-east-1"


@pytest.fixture(scope="module")
def endpoint() -> Generator[str]:
    """An S3 server with the bucket `calls-bucket`, and the settings that point to it."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    before = dict(os.environ)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": url,
    }
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _create_bucket(url)
            yield url
        finally:
            server.kill()
            os.environ.clear()
            os.environ.update(before)


def test_pipeline_on_s3(endpoint: str, tmp_path: Path) -> None:
    """Input, prompts, outputs and table live in S3, Bedrock reads and writes there, and every row arrives."""
    store = StoreResource(url="s3://calls-bucket/some/prefix", region_name=REGION, endpoint_url=endpoint)
    with open_lab(tmp_path, store=store) as lab:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        keys = [file.key for file in lab.store.files("calls/table") if file.key.endswith(".parquet")]
        table = lab.store.scan_parquet(keys).collect()
        assert table["id"].to_list() == [f"c{i}" for i in range(40)]
        assert set(table["status"]) == {"ok"}


def test_two_endpoints_are_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where settings and environment name different servers, nothing is written to either."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="unset one of them"):
        Store("s3://calls-bucket/elsewhere", REGION, endpoint).put("x.json", b"{}")


def test_large_file_is_published_whole_or_not_at_all(endpoint: str) -> None:
    """A file of several multipart pieces appears when it is closed, and not at all after an exception."""
    store = Store("s3://calls-bucket/large", REGION, endpoint)
    line = b"x" * 999 + b"\n"
    with store.writer("whole.bin") as file:
        for _ in range(40):
            file.write(line * 1000)
    assert store.size("whole.bin") == 40_000_000
    assert sum(len(chunk) for chunk in store.chunks("whole.bin")) == 40_000_000

    def break_off() -> None:
        with store.writer("half.bin") as file:
            file.write(line * 30_000)
            raise InterruptedError

    with pytest.raises((InterruptedError, StoreError)):
        break_off()
    assert not store.exists("half.bin")


def test_missing_bucket_is_a_clear_error(endpoint: str) -> None:
    """A bucket that does not exist is named."""
    with pytest.raises(StoreError, match="no-such-bucket"):
        Store("s3://no-such-bucket/x", REGION, endpoint).put("a.json", b"{}")


def _create_bucket(url: str) -> None:
    client = boto3.client("s3", endpoint_url=url, region_name=REGION)
    for _ in range(100):
        try:
            client.create_bucket(Bucket="calls-bucket")
        except BotoCoreError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("the S3 server did not start")
