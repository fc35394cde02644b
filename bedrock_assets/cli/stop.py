"""Commands that change something: errors --retry, stop, gc. What is destructive asks first."""

import dataclasses
from typing import Annotated

import typer

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    Name,
    Yes,
    bedrock_resource,
    confirm,
    console,
    errors,
    notes_console,
    open_instance,
    open_store,
    pipeline_of,
    print_json,
    use,
)


def stop(
    pipeline: Name,
    shard: Annotated[list[str] | None, typer.Option(help="A shard; may be repeated. All of them without it.")] = None,
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Withdraw what is pending and stop jobs in flight. Answers that are there are kept, and paid.

    Example: bedrock-assets stop call_summaries --shard 00003-of-00045
    """
    from bedrock_assets.operations.stop import open_requests, stop_requests

    with errors():
        use(home)
        name, store = pipeline_of(pipeline).spec.name, open_store()
        bedrock = bedrock_resource().open(store, local=True)
        with open_instance() as instance:
            ledger, entries = open_requests(instance, name, shard or ())
            n_jobs = sum(entry.job_arn is not None for entry in entries)
            if entries:
                confirm(f"withdraw {len(entries)} shards of {name}, {n_jobs} with a job?", yes=yes)
            done = stop_requests(instance, ledger, entries, bedrock)
    if as_json:
        print_json(dataclasses.asdict(done))
    else:
        console.print(f"{len(done.withdrawn)} shards withdrawn, {len(done.stopped)} jobs asked to stop")
        for reason in done.refused:
            notes_console.print(f"not stopped: {reason}", style="yellow", soft_wrap=True)
    if done.refused:
        raise typer.Exit(1)
