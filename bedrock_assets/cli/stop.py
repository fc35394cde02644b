"""`bedrock-assets stop`: withdraw requests and stop jobs."""

import dataclasses
from typing import Annotated

import typer

from bedrock_assets.cli.common import Json, LocalHome, Name, Yes, confirm, console, notes_console, print_json, session


def stop(
    pipeline: Name,
    shard: Annotated[list[str] | None, typer.Option(help="A shard; may be repeated. All of them without it.")] = None,
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Withdraw pending shards and stop jobs in flight. Answers that exist are kept, and paid.

    Example: bedrock-assets stop call_summaries --shard 00003-of-00045
    """
    from bedrock_assets.operations.stop import open_requests, stop_requests

    with session(home) as env:
        name = env.pipeline(pipeline).spec.name
        with env.instance() as instance:
            ledger, entries = open_requests(instance, name, shard or ())
            n_jobs = sum(entry.job_arn is not None for entry in entries)
            if entries:
                confirm(f"withdraw {len(entries)} shards of {name}, {n_jobs} with a job?", yes=yes)
            result = stop_requests(instance, ledger, entries, env.regions)
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        console.print(f"{len(result.withdrawn)} shards withdrawn, {len(result.stopped)} jobs asked to stop")
        for reason in result.refused:
            notes_console.print(f"not stopped: {reason}", style="yellow", soft_wrap=True)
    if result.refused:
        raise typer.Exit(1)
