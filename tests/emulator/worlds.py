"""Where the buckets of a test are: folders, or a real S3 server in a process of its own, over HTTP."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.exceptions import BotoCoreError

START_TIMEOUT_S = 60


class World(Protocol):
    """A place for buckets, as seen by somebody who is not the emulator."""

    store: str
    """What the emulator's `store` has to be."""

    def create_bucket(self, bucket: str) -> None: ...

    def put(self, bucket: str, key: str, data: bytes) -> None: ...

    def get(self, bucket: str, key: str) -> bytes: ...

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Names of the objects under a prefix that ends in `/`, sorted."""
        ...


@dataclass
class Folders:
    """Buckets as folders under one."""

    root: Path

    @property
    def store(self) -> str:  # type: ignore[override]
        return str(self.root)

    def create_bucket(self, bucket: str) -> None:
        (self.root / bucket).mkdir(parents=True, exist_ok=True)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        path = self.root / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one step, because a job that is under way may be reading it.
        aside = path.with_name(f"{path.name}.new")
        aside.write_bytes(data)
        aside.replace(path)

    def get(self, bucket: str, key: str) -> bytes:
        return (self.root / bucket / key).read_bytes()

    def names(self, bucket: str, prefix: str) -> list[str]:
        folder = self.root / bucket / prefix
        return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.exists() else []


@dataclass
class S3:
    """Buckets of an S3 server; the emulator finds it through AWS_ENDPOINT_URL_S3."""

    client: Any
    store: str = "s3://"

    def create_bucket(self, bucket: str) -> None:
        self.client.create_bucket(Bucket=bucket)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def names(self, bucket: str, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", []))

    def clear(self) -> None:
        """Delete all buckets, so that the next test finds none."""
        for bucket in self.client.list_buckets()["Buckets"]:
            name = bucket["Name"]
            for key in self.names(name, ""):
                self.client.delete_object(Bucket=name, Key=key)
            self.client.delete_bucket(Bucket=name)


@contextmanager
def s3_server(folder: Path) -> Generator[S3]:
    """Start moto's S3 server on a free port, and set the environment to it until the end."""
    log = folder / "s3-server.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    before = dict(os.environ)
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            url = _address(log)
            os.environ |= {
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL_S3": url,
            }
            client = boto3.Session().client("s3", endpoint_url=url, region_name="us-east-1")
            _wait_for(client)
            yield S3(client)
            client.close()
        finally:
            server.kill()
            os.environ.clear()
            os.environ.update(before)


def _address(log: Path) -> str:
    """The address that the server says it listens on."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                return word
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start: {log.read_text()}")


def _wait_for(client: Any) -> None:
    for _ in range(100):
        try:
            client.list_buckets()
        except BotoCoreError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the S3 server does not answer")
