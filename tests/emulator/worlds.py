"""Where the buckets of a test are: folders, or a real S3 server in a process of its own, over HTTP."""

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Protocol

import boto3
from botocore.exceptions import BotoCoreError, ClientError

START_TIMEOUT_S = 30
WEED_ATTEMPTS = 3
REGION = "us-east-1"
KEY = "local"
"""Access key and secret of the servers."""


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
    """Buckets of an S3 server; the emulator finds it through the environment."""

    client: Any
    url: str
    store: str = "s3://"

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which the emulator finds it."""
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY}
        return {**keys, "AWS_REGION": REGION, "AWS_ENDPOINT_URL_S3": self.url}

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
def moto_server(folder: Path) -> Generator[S3]:
    """moto's S3 server: it starts in a second or two."""
    log = folder / "s3-server.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("w") as file, _process(command, file), _answering(_said_address(log)) as server:
        yield server


@contextmanager
def seaweedfs_server(folder: Path, weed: str, others: Mapping[str, str] = MappingProxyType({})) -> Generator[S3]:
    """
    SeaweedFS, a real object store with its master, volume and filer processes in one. It checks signatures.

    Args:
        others: Access keys that it knows besides, with their secrets.
    """
    config = folder / "s3.json"
    keys = [{"accessKey": key, "secretKey": secret} for key, secret in {KEY: KEY, **others}.items()]
    config.write_text(json.dumps({"identities": [{"name": KEY, "credentials": keys, "actions": ["Admin"]}]}))
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-s3", f"-s3.config={config}", "-volume.max=100"]
    # Servers on fixed ports, which would keep a second one from starting.
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with ExitStack() as stack:
        file = stack.enter_context((folder / "s3-server.log").open("w"))
        for _ in range(WEED_ATTEMPTS):
            # It listens on more ports than it lets one choose, so that another process may have taken one of them.
            ports = {name: _free_port() for name in ("master.port", "volume.port", "filer.port", "s3.port")}
            options = [f"-{name}={port}" for name, port in ports.items()]
            try:
                stack.enter_context(_process([*command, *options], file))
                server = stack.enter_context(_answering(f"http://127.0.0.1:{ports['s3.port']}"))
            except (BotoCoreError, ClientError):
                continue
            yield server
            return
    raise RuntimeError(f"SeaweedFS does not start: {(folder / 's3-server.log').read_text()[-2000:]}")


@contextmanager
def _process(command: list[str], log: IO[str]) -> Generator[None]:
    with subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _answering(url: str) -> Generator[S3]:
    """The server at an address, once it answers."""
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY}
    client = boto3.Session().client("s3", endpoint_url=url, region_name=REGION, **keys)
    try:
        _wait_for(client)
        yield S3(client, url)
    finally:
        client.close()


def _said_address(log: Path) -> str:
    """The address that moto says it listens on."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                return word
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start: {log.read_text()}")


def _free_port() -> int:
    """A port that is free, and ten thousand above it too: SeaweedFS takes that one for gRPC."""
    while True:
        port = random.randint(20_000, 50_000)  # noqa: S311 - any will do
        try:
            with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 10_000)):
                return port
        except OSError:
            continue


def _wait_for(client: Any) -> None:
    """Wait until a bucket can be made and written to."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            client.create_bucket(Bucket="first-bucket")
            client.put_object(Bucket="first-bucket", Key="x", Body=b"x")
            S3(client, "").clear()
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
