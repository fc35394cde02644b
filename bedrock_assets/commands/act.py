"""Commands that change something: errors --retry, stop, gc. What is destructive asks first."""

import dataclasses
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from bedrock_assets.commands.common import (
    Json,
    LocalHome,
    Name,
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

Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


def errors_command(
    pipeline: Name,
    retry: Annotated[bool, typer.Option("--retry", help="Send these rows once more: launches their shards.")] = False,
    ui: Annotated[str, typer.Option(help="Address of Dagster's web server, for --retry.")] = "http://127.0.0.1:3000",
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Gather rows without an answer by what went wrong, with an example of each.

    With --retry their shards are launched again, as a backfill with `retry_errors: true`: only those rows are sent.

    Example: bedrock-assets errors call_summaries --retry
    """
    from bedrock_assets.failures import clusters_of

    with errors():
        use(home)
        chosen = pipeline_of(pipeline)
        found = clusters_of(open_store(), chosen)
        shards = sorted({shard for cluster in found for shard in cluster.shards})
        if as_json:
            print_json([dataclasses.asdict(cluster) for cluster in found])
        elif found:
            table = Table("rows", "code", "message", "example", "shards")
            for cluster in found:
                row = (f"{cluster.n_rows:,}", cluster.error_code or "", cluster.message, cluster.example)
                table.add_row(*row, str(len(cluster.shards)))
            console.print(table)
        else:
            console.print("no row of an answered shard is without an answer")
        if retry and found:
            confirm(f"send {sum(cluster.n_rows for cluster in found):,} rows of {len(shards)} shards again?", yes=yes)
            _launch(chosen.spec.name, shards, ui)


def _launch(pipeline: str, shards: list[str], url: str) -> None:
    from bedrock_assets.local.ui import DagsterUI

    config = {"ops": {f"{pipeline}__batch_outputs": {"config": {"retry_errors": True}}}}
    backfill = DagsterUI(url).backfill([[pipeline, "batch_outputs"]], shards, config)
    notes_console.print(f"launched backfill {backfill}: {url}/runs/b/{backfill}", soft_wrap=True)


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
    from bedrock_assets.halt import halt, waiting

    with errors():
        use(home)
        name, store = pipeline_of(pipeline).spec.name, open_store()
        bedrock = bedrock_resource().open(store, local=True)
        with open_instance() as instance:
            ledger, entries = waiting(instance, name, shard or ())
            n_jobs = sum(entry.job_arn is not None for entry in entries)
            if entries:
                confirm(f"withdraw {len(entries)} shards of {name}, {n_jobs} with a job?", yes=yes)
            done = halt(instance, ledger, entries, bedrock)
    if as_json:
        print_json(dataclasses.asdict(done))
    else:
        console.print(f"{len(done.withdrawn)} shards withdrawn, {len(done.stopped)} jobs asked to stop")
        for reason in done.refused:
            notes_console.print(f"not stopped: {reason}", style="yellow", soft_wrap=True)
    if done.refused:
        raise typer.Exit(1)


def gc(
    pipeline: Name,
    older_than_hours: Annotated[float, typer.Option(min=0, help="Leave files that are younger.")] = 24,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them, after asking.")] = False,
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    List files in the store that nothing refers to any more and, with --delete, delete them.

    Example: bedrock-assets gc call_summaries --delete
    """
    from bedrock_assets.leftovers import leftovers

    with errors():
        use(home)
        chosen, store = pipeline_of(pipeline), open_store()
        with open_instance() as instance:
            found = leftovers(instance, store, chosen, timedelta(hours=older_than_hours))
        n_bytes = sum(file.n_bytes for file in found)
        if as_json:
            print_json({"n_files": len(found), "n_bytes": n_bytes, "files": [file.key for file in found]})
        else:
            for file in found:
                console.print(f"{file.n_bytes:>14,}  {file.key}", markup=False, highlight=False, soft_wrap=True)
            console.print(f"{len(found):,} files, {n_bytes:,} bytes")
        if delete and found:
            confirm(f"delete {len(found):,} files of {store.root}?", yes=yes)
            store.delete([file.key for file in found])
            notes_console.print("deleted")
