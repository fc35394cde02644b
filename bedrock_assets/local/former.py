"""
What a former stack left in its folder.

The processes of its runs end with it, but Dagster's default launcher does not look after them: in the run storage they
would stay in progress, hold run slots, and keep the sensor from launching others in their place.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.errors import ConfigError
from bedrock_assets.units import counted

STOPPED = "The local stack was stopped while this run was under way."
_UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def require_ended(home: Path, lock: IO[str]) -> None:
    """
    Check that no process of a former stack is alive, though none holds the lock.

    Only Dagster's first process does: if that is killed, a run's own lives on, and another run in its place could pay
    twice for what is answered on demand.

    Args:
        lock: Holds the process group of a stack that was not stopped in order, else nothing.

    Raises:
        ConfigError: One is alive.
    """
    lock.seek(0)
    group = lock.read().strip()
    if not group.isdecimal() or int(group) == os.getpgrp():
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(int(group), 0)
        # SIGKILL, as a run that gets SIGTERM ends as one that a person has cancelled, which stops its jobs.
        raise ConfigError(
            f"folder {home}: the former local stack was killed, but processes of it are alive (process group {group}); "
            f"end them with `kill -9 -- -{group}`, or name another folder with --home. If they are not its own, "
            f"delete {home / 'lock'}"
        )


def end_runs(instance: DagsterInstance) -> str:
    """
    End the runs that a former stack left in progress; call it when no process of that stack is alive.

    Those that were being cancelled end as cancelled. The others fail, and Dagster launches them again, as it does
    after a crash.

    Returns:
        What a person should know of it; empty if no run was left.
    """
    left = instance.get_runs(RunsFilter(statuses=_UNDER_WAY))
    for run in left:
        if run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, STOPPED)
        else:
            instance.report_run_failed(run, STOPPED)
    stopped = f"the local stack was stopped while {counted(len(left), 'run')} had not ended"
    return f"{stopped}; that work is taken up again" if left else ""
