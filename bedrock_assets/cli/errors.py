"""`bedrock-assets errors`: rows without an answer, grouped by what went wrong."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

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
    say,
    session,
)
from bedrock_assets.units import counted

if TYPE_CHECKING:
    from bedrock_assets.config import WorkloadSpec
    from bedrock_assets.operations.errors import ErrorGroup


def errors(
    pipeline: WorkloadName,
    retry: Annotated[bool, typer.Option("--retry", help="Send these rows once more: launches their shards.")] = False,
    ui: Annotated[str, typer.Option(help="Address of Dagster's web server, for --retry.")] = "http://127.0.0.1:3000",
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Group rows without an answer by what went wrong, with an example of each, and name the shards that failed.

    With --retry their shards are launched again, as a backfill with `retry_errors: true`: only those rows are sent.

    Example: bedrock-assets errors call_summaries --retry
    """
    from bedrock_assets.operations.errors import group_errors, outputs_of

    with session(home) as env:
        chosen = env.workload(pipeline).workload
        n_answered = len(outputs_of(env.store, chosen.spec))
        groups = group_errors(env.store, chosen)
        if as_json:
            print_json([dataclasses.asdict(group) for group in groups])
        else:
            if not groups:
                say(
                    "no row of an answered shard is without an answer"
                    if n_answered
                    else f"no shard of {chosen.spec.name} is answered yet in the store {env.store.root}; for another "
                    "store name a local stack with --home, or set BEDROCK_ASSETS_STORE"
                )
            _show(groups)
            _show_failed(env, chosen.spec)
        if retry and groups:
            n_rows = sum(group.n_rows for group in groups)
            shards = sorted({shard for group in groups for shard in group.shards})
            confirm(f"send {counted(n_rows, 'row')} of {counted(len(shards), 'shard')} again?", yes=yes)
            _launch(chosen.spec, shards, ui)


def _show(groups: "Sequence[ErrorGroup]") -> None:
    if not groups:
        return
    # The message of the example: in the group's own, numbers such as limits are replaced.
    table = Table("rows", "code", "message", "example", "shards")
    for group in groups:
        cells = (
            f"{group.n_rows:,}",
            group.error_code or "",
            group.example_message or group.message,
            group.example,
            str(len(group.shards)),
        )
        table.add_row(*cells)
    console.print(table)


def _show_failed(env: Environment, spec: "WorkloadSpec") -> None:
    """The shards whose last request has failed: none of their rows is among the groups."""
    from bedrock_assets.operations.errors import failed_shards

    if not os.environ.get("DAGSTER_HOME"):
        return
    with env.instance() as instance:
        for shard, reason in failed_shards(instance, spec).items():
            say(f"shard {shard} failed: {reason}")


def _launch(spec: "WorkloadSpec", shards: list[str], url: str) -> None:
    from bedrock_assets.local.ui import DagsterUI

    config = {"ops": {spec.op_of("batch_outputs"): {"config": {"retry_errors": True}}}}
    backfill = DagsterUI(url).backfill([spec.key_of("batch_outputs")], shards, config)
    notes_console.print(f"launched backfill {backfill}: {url}/runs/b/{backfill}", soft_wrap=True)
