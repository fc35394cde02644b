"""Starts and stops the local stack. Everything it keeps is in one folder, and it listens on loopback only."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bedrock_assets.emulator import Emulator
from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import JobLimits

BUCKET = "bedrock-assets"
SETTINGS = "environment.json"
"""What points other processes at the stack."""
STOP_S = 20
SENSOR_INTERVAL_S = 5

INSTANCE = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1}
concurrency:
  runs: {max_concurrent_runs: 4}
  pools: {granularity: op}
run_monitoring: {enabled: true, free_slots_after_run_end_seconds: 60}
run_retries: {enabled: false, retry_on_asset_or_op_failure: false}
"""
WORKSPACE = """\
load_from:
  - python_module:
      module_name: bedrock_assets.definitions
      location_name: bedrock_assets
"""


@dataclass(frozen=True)
class Settings:
    """What the local stack is started with."""

    home: Path
    port: int = 0
    """Of the Dagster UI; 0 takes a free one."""
    speed: float = 30.0
    """Emulated seconds of the job's clock per real second."""
    max_jobs: int = 2
    """Limit of the pool `bedrock_batch`, set when the folder is new."""
    workspace: Path | None = None


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    home: Path
    ui_url: str
    emulator_url: str
    dagster: "subprocess.Popen[bytes]"

    @property
    def store(self) -> Path:
        """The local store: a folder that stands for the bucket."""
        return store_folder(self.home)

    def require_alive(self) -> None:
        """
        Raises:
            ConfigError: Dagster has ended; the message shows the end of its log.
        """
        if self.dagster.poll() is not None:
            tail = "\n".join(log_file(self.home).read_text("utf-8", "replace").splitlines()[-15:])
            raise ConfigError(f"Dagster ended with code {self.dagster.returncode}; its log ends with:\n{tail}")


@contextmanager
def local_stack(settings: Settings) -> Generator[Stack]:
    """
    Run emulator and Dagster until the block ends.

    Raises:
        ConfigError: The folder is in use or cannot be written, or the port is taken.
    """
    home = settings.home.expanduser().resolve()
    _end_cleanly_on_signals()
    with _locked(home) as lock:
        port = settings.port or free_port()
        _require_free(port)
        with Emulator(str(home / "s3"), home / "emulator.sqlite", speed=settings.speed, limits=_limits()) as emulator:
            env = environment(home, emulator.endpoint_url)
            (home / SETTINGS).write_text(json.dumps(env, indent=2))
            _prepare_instance(home, settings.max_jobs)
            dagster = _start_dagster(home, settings.workspace, port, env, lock)
            lock.truncate(0)
            lock.write(str(dagster.pid))
            lock.flush()
            try:
                yield Stack(home, f"http://127.0.0.1:{port}", emulator.endpoint_url, dagster)
            finally:
                stop(dagster)


def environment(home: Path, emulator_url: str) -> dict[str, str]:
    """The settings under which the pipeline uses the emulator: the same variables that AWS deployments set."""
    return {
        "DAGSTER_HOME": str(home / "dagster"),
        "BEDROCK_ASSETS_STORE": str(store_folder(home)),
        "BEDROCK_ASSETS_SENSOR_INTERVAL_S": str(SENSOR_INTERVAL_S),
        "AWS_ENDPOINT_URL_BEDROCK": emulator_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator_url,
        "AWS_ENDPOINT_URL_SERVICE_QUOTAS": emulator_url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }


def store_folder(home: Path) -> Path:
    """The folder that stands for the bucket."""
    return home / "s3" / BUCKET


def log_file(home: Path) -> Path:
    """Where Dagster's processes print to."""
    return home / "dagster.log"


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process that leads its own group: politely, then all of the group."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _end_cleanly_on_signals() -> None:
    """SIGTERM ends the stack as Ctrl-C does, and Ctrl-C does even where a shell's `&` had it ignored."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _limits() -> JobLimits:
    # More slots than the pool has: what keeps the cap is the pipeline, not the emulator's refusal.
    return JobLimits(max_jobs=20)


def _prepare_instance(home: Path, max_jobs: int) -> None:
    from dagster import DagsterInstance

    folder = home / "dagster"
    store_folder(home).mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    config = folder / "dagster.yaml"
    if not config.exists():
        config.write_text(INSTANCE)
    with DagsterInstance.from_config(str(folder)) as instance:
        if instance.event_log_storage.get_concurrency_info("bedrock_batch").limit is None:
            instance.event_log_storage.set_concurrency_slots("bedrock_batch", max_jobs)


def _start_dagster(
    home: Path, workspace: Path | None, port: int, env: dict[str, str], lock: IO[str]
) -> "subprocess.Popen[bytes]":
    if workspace is None:
        workspace = home / "workspace.yaml"
        workspace.write_text(WORKSPACE)
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(workspace.resolve()),
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    with log_file(home).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
            command,
            env={**os.environ, **env},
            cwd=workspace.resolve().parent,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock.fileno()],  # held as long as Dagster lives, even if this process is killed
        )


@contextmanager
def _locked(home: Path) -> Generator[IO[str]]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise ConfigError(f"folder {home} cannot be written: {error}; name another with --home") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise ConfigError(
                f"folder {home} is in use by a local stack that is still running (Dagster is process "
                f"{lock.read().strip() or 'starting'}); end it, or name another with --home"
            ) from error
        yield lock


def _require_free(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ConfigError(f"port {port} is taken; name another with --port") from error
