"""`bedrock-assets stop`: withdraw requests and stop jobs."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from bedrock_assets.cli.common import (
    Environment,
    Json,
    LocalHome,
    WorkloadName,
    Yes,
    confirm,
    console,
    notes_console,
    print_json,
    session,
)
from bedrock_assets.units import counted

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from bedrock_assets.config import WorkloadSpec


def stop(
    pipeline: WorkloadName,
    shard: Annotated[
        list[str] | None, typer.Option(help="A shard, of an inbox a file; may be repeated. All of them without it.")
    ] = None,
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Withdraw pending shards and stop jobs in flight. Answers that exist are kept, and paid.

    Files that wait in the folder of an inbox stay there; its sensor goes on to take them until you turn it off.

    Example: bedrock-assets stop call_summaries --shard 00003-of-00045
    """
    from bedrock_assets.operations.stop import open_requests, stop_requests

    with session(home) as env:
        spec = env.spec(pipeline)
        with env.instance() as instance:
            ledger, entries = open_requests(instance, spec.name, [key.removesuffix(".jsonl") for key in shard or ()])
            n_jobs = sum(entry.job_arn is not None for entry in entries)
            if entries:
                confirm(f"withdraw {counted(len(entries), 'shard')} of {spec.name}, {n_jobs} with a job?", yes=yes)
            result = stop_requests(instance, ledger, entries, env.regions)
            n_waiting = 0 if shard else _n_waiting(env, instance, spec)
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        withdrawn, stopped = counted(len(result.withdrawn), "shard"), counted(len(result.stopped), "job")
        console.print(f"{withdrawn} withdrawn, {stopped} asked to stop")
        for reason in result.refused:
            notes_console.print(f"not stopped: {reason}", style="yellow", soft_wrap=True)
    if n_waiting:
        waiting = counted(n_waiting, "file", "wait")
        note = f"{waiting} in the folder and will be taken; turn off the sensor {spec.name}_files_sensor"
        notes_console.print(note, style="yellow", soft_wrap=True)
    if result.refused:
        raise typer.Exit(1)


def _n_waiting(env: Environment, instance: "DagsterInstance", spec: "WorkloadSpec") -> int:
    """Files in the folder of an inbox that its sensor is about to take."""
    from bedrock_assets.config import InboxSpec
    from bedrock_assets.inbox.rejections import files_in_folder

    if not isinstance(spec, InboxSpec):
        return 0
    return sum(reason is None for _, reason in files_in_folder(instance, env.store, spec))
