"""A deployment of many processes on PostgreSQL: code servers, web server, daemon, and a process for each run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import boto3
import polars as pl
import pytest
import yaml
from dagster import DagsterInstance
from dagster._grpc.client import DagsterGrpcClient

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.cli.deployment import FOLDER
from bedrock_assets.emulator import Emulator
from bedrock_assets.limits import JobLimits
from bedrock_assets.local.stack import environment, free_port, placeholders, store_folder
from bedrock_assets.local.ui import DagsterUI
from tests.labs.postgres import postgres
from tests.labs.short import SHORT
from tests.soak.definitions import SPECS, source_of

SLOTS = 4 if SHORT else 16
N_WORKERS = 4
"""Runs at once, beside the two that wait."""
START_TIMEOUT_S = 120
SPEED = 200
"""A job takes a second or two, so that the workers are what there is too few of."""


@dataclass
class Site:
    """What a test needs to drive the deployment and to look into it."""

    home: Path
    env: Mapping[str, str]
    bedrock: Bedrock
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in (*SPECS, "webserver")})
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    most_in_flight: int = 0
    _ended: Event = field(default_factory=Event)

    def ui(self, location: str) -> DagsterUI:
        """The web server, as it shows one code location."""
        return DagsterUI(f"http://127.0.0.1:{self.ports['webserver']}", location)

    def require_alive(self) -> None:
        """
        Raises:
            AssertionError: A process has ended of itself.
        """
        for name, process in self.running.items():
            log = (self.home / f"{name}.log").read_text("utf-8", "replace")[-2000:]
            assert process.poll() is None, f"{name} has ended: {log}"

    def table(self, pipeline: str) -> pl.DataFrame:
        """A pipeline's final table."""
        return pl.read_parquet(store_folder(self.home) / pipeline / "table" / "*.parquet")

    def prepare(self, n_shards: int) -> None:
        """Inputs, workspace, and the configuration that ships, with as many workers as there are to be."""
        store_folder(self.home).mkdir(parents=True)
        (self.home / "dagster").mkdir()
        config = yaml.safe_load((FOLDER / "server.yaml").read_text("utf-8"))
        config["concurrency"]["runs"]["max_concurrent_runs"] = N_WORKERS + len(SPECS)
        (self.home / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(config))
        servers = [
            {"grpc_server": {"host": "127.0.0.1", "port": self.ports[name], "location_name": name}} for name in SPECS
        ]
        (self.home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": servers}))
        for name in SPECS:
            pl.DataFrame(source_of(name, n_shards)).write_parquet(self.home / f"{name}.parquet")

    def start(self) -> None:
        """Start a code server for each pipeline; when they serve, the web server and the daemon."""
        for name in SPECS:
            self._launch(name)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not all(DagsterGrpcClient(port=self.ports[name]).health_check_query() == "SERVING" for name in SPECS):
            self.require_alive()
            assert time.monotonic() < deadline, "the code servers do not start"
            time.sleep(0.5)
        for name in ("webserver", "daemon"):
            self._launch(name)
        self.ui("").wait_until_loaded(self.require_alive)

    def _launch(self, name: str) -> None:
        env = {**self.env, "SOAK_FOLDER": str(self.home), "LOCATION_PIPELINE": name}
        with (self.home / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                self._command(name), env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def stop(self) -> None:
        """SIGKILL all processes and the run workers that they have started."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def watch(self) -> None:
        """Note the most jobs in flight, many times a second."""
        while not self._ended.wait(0.05):
            self.most_in_flight = max(self.most_in_flight, sum(job.status.in_flight for job in self.bedrock.list()))

    def _command(self, name: str) -> Sequence[str]:
        python, workspace = sys.executable, str(self.home / "workspace.yaml")
        if name == "webserver":
            return [python, "-m", "dagster_webserver", "-w", workspace, "-h", "127.0.0.1", "-p", str(self.ports[name])]
        if name == "daemon":
            return [python, "-m", "dagster._daemon", "run", "-w", workspace]
        where = ["-h", "127.0.0.1", "-p", str(self.ports[name])]
        return [python, "-m", "dagster", "code-server", "start", "-m", "tests.distributed.definitions", *where]


@contextmanager
def site(home: Path, n_shards: int) -> Generator[tuple[Site, DagsterInstance]]:
    """A running site, with so many shards for each pipeline, and its instance."""
    limits = JobLimits(min_records_per_job=5, max_jobs=2 * SLOTS)
    emulator = Emulator(str(home / "s3"), home / "jobs", speed=SPEED, limits=limits, any_model=True)
    with postgres() as database, emulator:
        env = {**placeholders()[0], **environment(home, emulator.endpoint_url), **database}
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
        client = boto3.client("bedrock", endpoint_url=emulator.endpoint_url, **keys)
        made = Site(home, env, Bedrock(client, "arn:aws:iam::123456789012:role/x"))
        made.prepare(n_shards)
        watcher = Thread(target=made.watch)
        with _environment(database), DagsterInstance.from_config(str(home / "dagster")) as instance:
            instance.event_log_storage.set_concurrency_slots("bedrock_batch", SLOTS)
            watcher.start()
            try:
                made.start()
                yield made, instance
            finally:
                made._ended.set()
                watcher.join()
                made.stop()


@contextmanager
def _environment(env: Mapping[str, str]) -> Generator[None]:
    """Variables of this process for the length of the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        yield
