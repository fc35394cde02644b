"""One process that does everything an inbox's processes do, from any state, and may be killed at any effect."""

import os
import signal
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import boto3
from dagster import DagsterInstance, RunsFilter

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.regions import Regions
from bedrock_assets.emulator import Emulator
from bedrock_assets.jobs.collect_runs import CollectRuns
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.resources.store import StoreResource
from tests.crashes.driver import ALIVE, AWS, PATIENCE_S, ROLE, RUN_KEY_TAG, point_of
from tests.labs.inbox import INBOX, Lab, inbox_of

LIMITS = {"max_records_per_job": 50, "min_records_per_job": 2, "max_jobs": 2}


def opened(home: Path, endpoint_url: str) -> Lab:
    """The inbox of a home, over an emulator that another process runs."""
    bedrock = Bedrock(boto3.client("bedrock", endpoint_url=endpoint_url, **AWS), ROLE)
    inbox = inbox_of(model=f"anthropic.claude-haiku-4-5-20{home.name}-v1:0", limits=LIMITS)
    emulator = cast("Emulator", SimpleNamespace(endpoint_url=endpoint_url))
    instance = DagsterInstance.from_config(str(home / "dagster"))
    return Lab(inbox, instance, emulator, StoreResource(url=str(home)), bedrock, stepped=False)


def complete(lab: Lab) -> None:
    """Bury the dead, then tick until nothing settles, waits or is open; each tick an hour after the last."""
    for run in lab.instance.get_runs(RunsFilter(statuses=ALIVE)):
        lab.instance.report_run_failed(run)
    deadline = time.monotonic() + PATIENCE_S
    n_quiet = 0
    while n_quiet < 2:
        assert time.monotonic() < deadline, lab.skipped
        lab.pass_time(3600)
        asked = lab.look()
        _launch(lab, asked)
        _dispatch(lab)
        idle = not asked and not any(state.is_open for state in lab.states.values())
        n_quiet = n_quiet + 1 if idle else 0
        time.sleep(0.05)


def _dispatch(lab: Lab) -> None:
    ledger = Ledger(INBOX)
    ledger.refresh(lab.instance)
    collect_runs = CollectRuns(lab.instance, datetime.now(UTC) + lab.later)
    Tick(
        lab.instance, {INBOX: lab.inbox.workload}, {INBOX: ledger}, Regions.only(lab.bedrock, lab.store), collect_runs
    ).run()
    _launch(lab, collect_runs.run_requests)


def _launch(lab: Lab, asked: list[Any]) -> None:
    """Run what is asked for, each run key once, as Dagster does."""
    for request in asked:
        key = str(request.run_key)
        if not lab.instance.get_runs(RunsFilter(tags={RUN_KEY_TAG: key})):
            asset = "dropped_files" if request.run_config else "batch_outputs"
            lab.run(asset, request.partition_key, {**request.tags, RUN_KEY_TAG: key}, request.run_config)


def play(home: str, endpoint_url: str, kill: tuple[str, int] | None) -> None:
    """
    The process: bring all files to their end, and die at the n-th time that an effect is announced, or write down all.

    Args:
        kill: Name of a point, and which time it is passed, from 1.
    """
    sys.stdout = sys.stderr = Path(home, "out.log").open("a")  # noqa: SIM115 - until the process ends
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    passed = Counter[str]()

    def observe(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith("bedrock_assets."):
            point = point_of(event.removeprefix("bedrock_assets."), *arguments)
            passed[point] += 1
            if kill == (point, passed[point]):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(observe)
    complete(opened(Path(home), endpoint_url))
    Path(home, "points.txt").write_text("".join(f"{n}\t{point}\n" for point, n in passed.items()))
