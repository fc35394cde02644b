"""Starts and stops the local stack. It keeps everything in one folder, and listens on loopback only."""

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
from typing import IO, Any

import yaml
from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.emulator import Emulator
from bedrock_assets.emulator.settings import ENDPOINT_VARIABLES
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.project import DEMO, Project
from bedrock_assets.storage.credentials import open_session

BUCKET = "bedrock-assets"
SETTINGS = "environment.json"
"""File with the variables that point other processes at the stack."""
AWS_ONLY = (
    "BEDROCK_ASSETS_ALERT_TOPIC",
    "BEDROCK_ASSETS_ASSUME_ROLE_ARN",
    "BEDROCK_ASSETS_BUCKET_OWNER",
    "BEDROCK_ASSETS_CLOUDWATCH",
    "BEDROCK_ASSETS_EVENTS_QUEUE_URL",
    "BEDROCK_ASSETS_KMS_KEY_ARN",
    "BEDROCK_ASSETS_REGIONS",
    "BEDROCK_ASSETS_SECURITY_GROUP_IDS",
    "BEDROCK_ASSETS_SUBNET_IDS",
)
"""Variables of a deployment on AWS; with them a local stack would call AWS."""
NO_ACCOUNT = "local"
"""The keys of no account: the emulator takes any, and AWS refuses them."""
PATIENCE = {
    "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
    "DAGSTER_GRPC_TIMEOUT_SECONDS": "180",
    "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "20",
}
"""Makes the daemon wait for a code location that does not load or is slow, instead of failing backfills and runs."""
MIN_RECORDS = 100
"""Bedrock's own default quota."""
STOP_S = 20
SENSOR_INTERVAL_S = 4
"""Seconds between two looks of a sensor. Dagster's daemon goes round every 5 s, so that 5 would be 5 or 10."""
CALM_INTERVAL_S = 15
"""The same for a stack that is open all day: a look costs up to 0.1 s of processor time, nearly all of it Dagster's."""

INSTANCE = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1, dequeue_use_threads: true, dequeue_num_workers: 4}
concurrency:
  runs: {max_concurrent_runs: 4}
  pools: {granularity: op}
run_monitoring: {enabled: true, free_slots_after_run_end_seconds: 60}
run_retries: {enabled: true, max_retries: 3, retry_on_asset_or_op_failure: false}
"""


@dataclass(frozen=True)
class Settings:
    """Settings of the local stack."""

    home: Path
    port: int = 0
    """Port of the Dagster UI; 0 takes a free one."""
    speed: float = 30.0
    """Emulated seconds of the job's clock per real second."""
    max_jobs: int = 2
    """Limit of the pool `bedrock_batch`, set when the folder is new."""
    workspace: Path | None = None
    """A workspace.yaml, in place of the project."""
    project: Project = DEMO
    """The code location that Dagster loads."""
    sensor_interval_s: int = SENSOR_INTERVAL_S
    min_records: int = MIN_RECORDS
    """Fewest records of a job at the emulator."""


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    home: Path
    ui_url: str
    emulator_url: str
    dagster: "subprocess.Popen[bytes]"
    location: str = DEMO.name
    """Name of the code location."""
    note: str = ""
    """What a person should know of the AWS login, and of runs that were under way; empty if there is nothing."""

    @property
    def store(self) -> Path:
        """The local store: the folder of the bucket."""
        return store_folder(self.home)

    def require_alive(self) -> None:
        """
        Check that Dagster runs.

        Raises:
            ConfigError: It has ended; the message shows the end of its log.
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
    from bedrock_assets.local.former import require_ended

    home = settings.home.expanduser().resolve()
    _end_cleanly_on_signals()
    with _locked(home) as lock:
        require_ended(home, lock)
        port = settings.port or free_port()
        _require_free(port)
        # More slots than the pool has: the pipeline itself must keep to the pool. Any model, as the Region and the
        # account are made up here: they say nothing of the profiles and roles that a pipeline names for its own.
        options: dict[str, Any] = {
            "speed": settings.speed,
            "max_jobs": 20,
            "any_model": True,
            "min_records": settings.min_records,
        }
        with Emulator(str(home / "s3"), home / "emulator.sqlite", **options) as emulator:
            env = environment(home, emulator.endpoint_url, settings.sensor_interval_s)
            keys, note = placeholders()
            env |= keys
            (home / SETTINGS).write_text(json.dumps(env, indent=2))
            notes = [note, _prepare_instance(home, settings.max_jobs)]
            dagster = _start_dagster(home, settings, port, env, lock)
            lock.truncate(0)
            lock.write(str(dagster.pid))
            lock.flush()
            try:
                ui_url = f"http://127.0.0.1:{port}"
                note = "\n".join(filter(None, notes))
                yield Stack(home, ui_url, emulator.endpoint_url, dagster, settings.project.name, note)
            finally:
                stop(dagster)
                lock.truncate(0)


def environment(home: Path, emulator_url: str, sensor_interval_s: int = SENSOR_INTERVAL_S) -> dict[str, str]:
    """Variables that make a pipeline use the emulator; deployments on AWS set the same ones."""
    return {
        "DAGSTER_HOME": str(home / "dagster"),
        **PATIENCE,
        "BEDROCK_ASSETS_STORE": str(store_folder(home)),
        "BEDROCK_ASSETS_SENSOR_INTERVAL_S": str(sensor_interval_s),
        **dict.fromkeys(ENDPOINT_VARIABLES, emulator_url),
        # A profile may tell boto3 to ignore such addresses.
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
    }


def placeholders() -> tuple[dict[str, str], str]:
    """
    A Region and keys, where the shell has none that can be used, and what to tell of it.

    What it has is kept, as sources on S3 are read with it. The emulator takes any keys.

    Raises:
        ConfigError: AWS_PROFILE names a profile that does not exist.
    """
    session, note = open_session(), ""
    found = {} if session.region_name else {"AWS_REGION": "us-east-1"}
    try:
        credentials = session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()
            return found, note
    except (BotoCoreError, ClientError) as error:
        note = f"your AWS login cannot be used, so sources on S3 cannot be read; log in and start again: {error}"
    return {**found, "AWS_ACCESS_KEY_ID": NO_ACCOUNT, "AWS_SECRET_ACCESS_KEY": NO_ACCOUNT}, note


def store_folder(home: Path) -> Path:
    """Folder of the bucket."""
    return home / "s3" / BUCKET


def log_file(home: Path) -> Path:
    """File for the output of Dagster's processes."""
    return home / "dagster.log"


def free_port() -> int:
    """A free port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt a process that leads its own group, wait, then kill the group."""
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
    """Make SIGTERM and Ctrl-C end the stack cleanly, even if a shell started it with `&` and ignores Ctrl-C."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _prepare_instance(home: Path, max_jobs: int) -> str:
    """Make the instance ready for Dagster; returns what a person should know of runs that were under way."""
    from dagster import DagsterInstance

    from bedrock_assets.local.former import end_runs

    folder = home / "dagster"
    store_folder(home).mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    config = folder / "dagster.yaml"
    if not config.exists():
        config.write_text(INSTANCE)
    with DagsterInstance.from_config(str(folder)) as instance:
        if instance.event_log_storage.get_concurrency_info("bedrock_batch").limit is None:
            instance.event_log_storage.set_concurrency_slots("bedrock_batch", max_jobs)
        return end_runs(instance)


def _write_workspace(home: Path, project: Project) -> Path:
    location = {"module_name": project.module, "location_name": project.name, "working_directory": str(project.source)}
    path = home / "workspace.yaml"
    path.write_text(yaml.safe_dump({"load_from": [{"python_module": location}]}))
    return path


def _start_dagster(
    home: Path, settings: Settings, port: int, env: dict[str, str], lock: IO[str]
) -> "subprocess.Popen[bytes]":
    workspace = settings.workspace or _write_workspace(home, settings.project)
    # Where `dg dev` or `dagster dev` would run, as relative paths start there.
    folder = (None if settings.workspace else settings.project.folder) or workspace.resolve().parent
    _require_no_dotenv(folder / ".env")
    options = ["-w", str(workspace.resolve()), "-h", "127.0.0.1", "-p", str(port)]
    with log_file(home).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
            [sys.executable, "-m", "dagster", "dev", *options],
            env={name: value for name, value in os.environ.items() if name not in AWS_ONLY} | env,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock.fileno()],  # Dagster holds the lock, even if this process is killed
        )


def _require_no_dotenv(path: Path) -> None:
    """
    Dagster reads this file, and its values would replace those that keep the stack away from AWS.

    Raises:
        ConfigError: The file sets one of them.
    """
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    names = {line.split("=")[0].strip().removeprefix("export ").strip() for line in text.splitlines() if "=" in line}
    if conflicts := sorted(names & {*environment(path.parent, ""), *AWS_ONLY}):
        raise ConfigError(
            f"{path} sets {', '.join(conflicts)}, so the local stack would use AWS; rename the file while you work "
            "locally"
        )


@contextmanager
def _locked(home: Path) -> Generator[IO[str]]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise ConfigError(f"folder {home} is not writable: {error}; name another with --home") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise ConfigError(
                f"folder {home} is in use by a running local stack (Dagster process: "
                f"{lock.read().strip() or 'starting'}); stop it, or name another folder with --home"
            ) from error
        yield lock


def _require_free(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ConfigError(f"port {port} is in use; name another with --port") from error
