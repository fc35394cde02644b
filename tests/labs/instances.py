"""Real Dagster instances: in memory, or on disk where other processes look at them."""

import atexit
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dagster as dg
import yaml

NO_COPIES = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
"""Setting `compute_logs`: what a step prints stays where the test sees it, as to copy it takes four processes a run."""

ALIVE: list[dg.DagsterInstance] = []
"""Dagster's context may name the storage of an instance that is closed, and fails if that is collected, too."""


@contextmanager
def open_instance(folder: Path, *, on_disk: bool = False) -> Generator[dg.DagsterInstance]:
    """
    A real instance in an empty *folder*: with events and runs in memory, or *on_disk* for other processes, too.

    These read its settings in the folder's `dagster.yaml`, as a deployment does.
    """
    folder.mkdir(exist_ok=True)
    if on_disk:
        settle(folder)
    with dg.DagsterInstance.from_config(str(folder)) if on_disk else dg.DagsterInstance.ephemeral(str(folder)) as made:
        ALIVE.append(made)
        yield made


def settle(folder: Path) -> None:
    """One file holds the events of all runs, and empty tables are copied: to make them anew takes most of a test."""
    made = _empty_tables()
    shutil.copytree(made, folder, dirs_exist_ok=True)
    _write_settings(folder)


@cache
def _empty_tables() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="dagster-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _write_settings(folder)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.get_runs(limit=1)
    return folder


def _write_settings(folder: Path) -> None:
    kind = {"module": "dagster._core.storage.event_log", "class": "ConsolidatedSqliteEventLogStorage"}
    settings = {
        "telemetry": {"enabled": False},
        "run_monitoring": {"enabled": True},
        "compute_logs": NO_COPIES,
        "event_log_storage": {**kind, "config": {"base_dir": str(folder / "events")}},
    }
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
