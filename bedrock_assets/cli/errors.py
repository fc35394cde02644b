"""`bedrock-assets errors`: rows without an answer, grouped by what went wrong."""

import dataclasses
from typing import Annotated

import typer
from rich.table import Table

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    Name,
    Yes,
    confirm,
    console,
    errors,
    notes_console,
    open_store,
    pipeline_of,
    print_json,
    use,
)


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
    from bedrock_assets.operations.errors import group_errors

    with errors():
        use(home)
        chosen = pipeline_of(pipeline)
        found = group_errors(open_store(), chosen)
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
