"""The processes of a deployment, each of which may be killed and started again on its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import psutil
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.local.stack import INSTANCE, environment, free_port, placeholders, store_folder
from tests.soak.definitions import SPECS, source_of

SLOTS = 3
WORKSPACE = """\
load_from:
  - python_module:
      module_name: tests.soak.definitions
      location_name: bedrock_assets
"""
# A killed run worker is noticed within seconds, not after the two minutes that are the default.
MONITORING = "run_monitoring: {enabled: true, poll_interval_seconds: 5, start_timeout_seconds: 60}"


@dataclass
class Site:
    """Emulator, Dagster's web server and Dagster's daemon in a folder."""

    home: Path
    speed: float
    ports: dict[str, int] = field(default_factory=lambda: {"emulator": free_port(), "webserver": free_port()})
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def emulator_url(self) -> str:
        """Where the emulator answers."""
        return f"http://127.0.0.1:{self.ports['emulator']}"

    @property
    def ui_url(self) -> str:
        """Where the web server answers."""
        return f"http://127.0.0.1:{self.ports['webserver']}"

    def prepare(self, n_shards: int) -> None:
        """Inputs, instance and workspace."""
        store_folder(self.home).mkdir(parents=True)
        (self.home / "dagster").mkdir()
        lines = [line for line in INSTANCE.splitlines() if not line.startswith("run_monitoring")]
        (self.home / "dagster" / "dagster.yaml").write_text("\n".join([*lines, MONITORING]) + "\n")
        (self.home / "workspace.yaml").write_text(WORKSPACE)
        for name in SPECS:
            pl.DataFrame(source_of(name, n_shards // len(SPECS))).write_parquet(self.home / f"{name}.parquet")
        with DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            instance.event_log_storage.set_concurrency_slots("bedrock_batch", SLOTS)

    def start(self, name: str) -> None:
        """Start `emulator`, `webserver` or `daemon` in a process group of its own."""
        self.launch_process(
            name, {**placeholders()[0], **environment(self.home, self.emulator_url), "SOAK_FOLDER": str(self.home)}
        )

    def launch_process(self, name: str, env: Mapping[str, str]) -> None:
        """Start a process with these variables; its output goes to a file of its name."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self._command(name), env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """SIGKILL a process and all that it has started: code server and run workers included."""
        process = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def bury(self, instance: DagsterInstance) -> None:
        """Fail the runs whose processes are gone: a launcher may do that, Dagster's default one does not."""
        started = RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING])
        for run in instance.get_runs(started):
            messages = [entry.message or "" for entry in instance.all_logs(run.run_id)]
            pids = [int(found[1]) for message in messages if (found := re.search(r"pid: (\d+)", message))]
            if pids and not _lives(pids[-1]):
                instance.report_run_failed(run, "its process is gone")

    def require_alive(self) -> None:
        """
        Raises:
            AssertionError: A process has ended of itself.
        """
        for name, process in self.running.items():
            log = (self.home / f"{name}.log").read_text("utf-8", "replace")[-2000:]
            assert process.poll() is None, f"{name} has ended: {log}"

    def _command(self, name: str) -> Sequence[str]:
        workspace, python = str(self.home / "workspace.yaml"), sys.executable
        if name == "emulator":
            options = ["--store", str(self.home / "s3"), "--db", str(self.home / "emulator.sqlite")]
            options += [
                "--port",
                str(self.ports[name]),
                "--speed",
                str(self.speed),
                "--min-records",
                "5",
                "--any-model",
            ]
            return [str(Path(python).with_name("bedrock-assets")), "emulate", *options]
        if name == "webserver":
            return [python, "-m", "dagster_webserver", "-w", workspace, "-h", "127.0.0.1", "-p", str(self.ports[name])]
        return [python, "-m", "dagster._daemon", "run", "-w", workspace]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def site(home: Path, n_shards: int, speed: float) -> Generator[Site]:
    """A running site for the length of the block."""
    made = Site(home, speed)
    made.prepare(n_shards)
    try:
        for name in ("emulator", "webserver", "daemon"):
            made.start(name)
        yield made
    finally:
        for name in list(made.running):
            made.kill(name)
