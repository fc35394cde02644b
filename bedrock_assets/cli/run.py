"""`bedrock-assets run`: one round of a pipeline, with nobody clicking."""

import dataclasses
import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from bedrock_assets.cli.common import Json, LocalHome, Name, console, fail, notes_console, print_json, session, warn
from bedrock_assets.errors import ConfigError
from bedrock_assets.units import counted

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from rich.status import Status

    from bedrock_assets.operations.run_round import Progress
    from bedrock_assets.pipeline.workload import Workload
    from bedrock_assets.storage.store import Store

WAITS_FOR_PERSON = 3
"""Exit code."""


def run(
    pipeline: Name,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the table is built; exit 1 if it is not complete.")
    ] = False,
    approve: Annotated[
        bool,
        typer.Option(
            "--approve",
            help="With --wait: approve the canary's answers if they meet the thresholds (`approval: true`).",
        ),
    ] = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Read the data anew, send what has no answer yet, and build the table. Unchanged rows are not paid for again.

    It works through the Dagster instance of `DAGSTER_HOME`, whose daemon submits the jobs and collects the answers.
    Where only a person's approval is waited for, it ends with exit code 3; run it again after `bedrock-assets approve`.

    Example: bedrock-assets run call_summaries --wait
    """
    with session(home) as env:
        if approve and not wait:
            raise ConfigError("--approve needs --wait: without it nothing is there when the canary is answered")
        chosen = env.pipeline(pipeline)
        for notice in chosen.notices:
            warn(notice)
        workload = chosen.workload
        name, approves_as = workload.spec.name, f"{getpass.getuser()}, by --approve" if approve else ""
        with env.instance() as instance, notes_console.status(f"loading {name}") as status:
            result = _round(instance, workload, _teller(status), env.store, approves_as, wait=wait)
    if as_json:
        print_json(dataclasses.asdict(result) if result else {"step": "requested"})
    else:
        console.print(_end(name, result, f"bedrock-assets status {name}" + (f" --home {home}" if home else "")))
    if result and not result.is_complete:
        raise typer.Exit(WAITS_FOR_PERSON if result.approval else 1)


def _round(
    instance: "DagsterInstance",
    workload: "Workload",
    tell: Callable[["Progress"], None],
    store: "Store",
    approves_as: str,
    *,
    wait: bool,
) -> "Progress | None":
    from bedrock_assets.operations.run_round import RoundFailed, RoundRun, load_job
    from bedrock_assets.pipeline.project import find_project

    round_run = RoundRun(instance, load_job(find_project()), workload, tell, store, approves_as)
    try:
        round_run.begin()
        round_run.request()
        return round_run.finish() if wait else round_run.held()
    except RoundFailed as error:
        fail(str(error), 1)


def _teller(status: "Status") -> Callable[["Progress"], None]:
    """Shows the progress: beside the spinner of a terminal, elsewhere a line for each change."""
    last = ""

    def tell(progress: "Progress") -> None:
        nonlocal last
        line = _line(progress)
        status.update(line)
        if not notes_console.is_terminal and line != last:
            notes_console.print(line, soft_wrap=True)
        last = line

    return tell


def _line(progress: "Progress") -> str:
    if not progress.n_shards:
        return progress.step
    failed = f", {progress.n_failed} failed" if progress.n_failed else ""
    note = (
        f". Nothing goes on; the sensor says: {progress.note}. If you edited the YAML after the code location was "
        "loaded, reload it"
    )
    return (
        f"{progress.step}: {progress.n_answered} of {counted(progress.n_shards, 'shard')}{failed}, "
        f"{progress.n_records_answered:,} of {counted(progress.n_records, 'record')}{note if progress.note else ''}"
    )


def _end(name: str, result: "Progress | None", status: str) -> str:
    if result is None:
        return f"{name}: requested; the sensor submits and collects. Look at it with: {status}"
    if result.approval:
        return f"{name}: {result.approval}. Then run this again; what is answered is not sent again"
    if result.is_complete:
        return f"{name}: the table is complete, {counted(result.n_shards, 'shard')}"
    return f"{name}: {result.n_failed} of {counted(result.n_shards, 'shard')} failed, no table; see: {status}"
