"""Real Dagster instances: in memory, or on disk where other threads and processes look at them."""

import atexit
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dagster as dg
import sqlalchemy
import yaml

NO_COPIES = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
"""Setting `compute_logs`: what a step prints stays where the test sees it, as to copy it takes four processes a run."""

SPARE: list[dg.DagsterInstance] = []
"""Instances in memory that nothing uses now. To make one reads 89 migrations, to empty one deletes some rows."""

ALIVE: list[dg.DagsterInstance] = []
"""Dagster's context may name the storage of an instance that is closed, and fails if that is collected, too."""


@contextmanager
def open_instance(folder: Path, *, on_disk: bool = False) -> Generator[dg.DagsterInstance]:
    """
    A real instance: in memory, or *on_disk* in an empty *folder* for other threads and processes, too.

    These read its settings in the folder's `dagster.yaml`, as a deployment does.
    """
    if not on_disk:
        with in_memory() as made:
            yield made
        return
    folder.mkdir(exist_ok=True)
    settle(folder)
    with dg.DagsterInstance.from_config(str(folder)) as made:
        ALIVE.append(made)
        yield made


@contextmanager
def in_memory() -> Generator[dg.DagsterInstance]:
    """
    A real, empty instance with events and runs in memory, for one thread.

    One that a test fails with is not used again.
    """
    made = SPARE.pop() if SPARE else _make_in_memory()
    yield made
    _wipe(made)
    shutil.rmtree(made.storage_directory(), ignore_errors=True)
    SPARE.append(made)


def _make_in_memory() -> dg.DagsterInstance:
    made = dg.DagsterInstance.ephemeral(tempfile.mkdtemp(prefix="dagster-"))
    atexit.register(shutil.rmtree, made.root_directory, ignore_errors=True)
    sqlalchemy.event.listen(made.run_storage._engine, "connect", _require_thread(threading.get_ident()))
    return made


def _wipe(instance: dg.DagsterInstance) -> None:
    """Delete the rows of all tables; Dagster's own `wipe` leaves those of asset checks and of cursors."""
    for storage in (instance.run_storage, instance.event_log_storage):
        with storage._engine.begin() as opened:
            for table in sqlalchemy.inspect(opened).get_table_names():
                if table != "alembic_version":
                    opened.execute(sqlalchemy.table(table).delete())


def _require_thread(owner: int) -> Callable[..., None]:
    """
    Runs in SQLite's memory are locked for a second thread, now and then: better an error each time.

    The storage of events has a lock of its own.
    """

    def check(*_: object) -> None:
        assert threading.get_ident() == owner, "an instance in memory is for one thread: open it on disk"

    return check


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
