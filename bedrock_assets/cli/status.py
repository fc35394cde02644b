"""Commands that look and change nothing: status, doctor, estimate, sample, errors."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    bedrock_resource,
    console,
    errors,
    notes_console,
    open_instance,
    open_store,
    print_json,
    use,
)

if TYPE_CHECKING:
    from bedrock_assets.operations.status import ShardProgress
    from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.cli.common import Names, pipelines_of

WATCH_S = 5


def status(
    pipelines: Names = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every few seconds, until Ctrl-C.")] = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Show how the shards of pipelines get on.

    Example: bedrock-assets status call_summaries --watch
    """
    with errors():
        use(home)
        chosen = pipelines_of(pipelines)
        if as_json:
            print_json([dataclasses.asdict(line) for line in _progress(chosen)[0]])
            return
        if not watch:
            _show(*_progress(chosen))
            return
        from rich.console import Group
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(Group(*_tables(_progress(chosen)[0])), refresh=True)
                time.sleep(WATCH_S)


def _progress(chosen: Sequence["Pipeline"]) -> tuple[list["ShardProgress"], list[str]]:
    from bedrock_assets.operations.status import shard_progress

    store, found, troubles = open_store(), list["ShardProgress"](), list[str]()
    bedrock = bedrock_resource().open(store, local=True)
    with open_instance() as instance:
        for pipeline in chosen:
            lines, trouble = shard_progress(instance, pipeline, store, bedrock)
            found += lines
            troubles += [f"{pipeline.spec.name}: no news of its jobs: {trouble}"] if trouble else []
    return found, troubles


def _show(lines: Sequence["ShardProgress"], troubles: Sequence[str]) -> None:
    if not lines:
        console.print("no shards yet: materialize raw_dataset")
    for table in _tables(lines):
        console.print(table)
    for line in lines:
        if line.message:
            console.print(f"{line.shard}: {line.message}", markup=False, highlight=False, soft_wrap=True)
    for trouble in troubles:
        notes_console.print(f"warning: {trouble}", style="yellow", soft_wrap=True)


def _tables(lines: Sequence["ShardProgress"]) -> list[Table]:
    """A table for each pipeline; columns in which nothing stands are left out."""
    by_pipeline = {name: list(group) for name, group in groupby(lines, lambda line: line.pipeline)}
    tables: list[Table] = []
    for name, group in by_pipeline.items():
        n_done, n_all = sum(line.n_done for line in group), sum(line.n_records for line in group)
        costs = [line.cost_usd for line in group if line.cost_usd is not None]
        caption = f"{n_done:,} of {n_all:,} records" + (f", ${sum(costs):,.2f} so far" if costs else "")
        table = Table(title=name, caption=caption)
        columns = {title: [cell(line) for line in group] for title, cell in CELLS.items()}
        shown = {title: cells for title, cells in columns.items() if any(cells)}
        for title in shown:
            table.add_column(title, no_wrap=True, justify="left" if title in ("shard", "state") else "right")
        for row in zip(*shown.values(), strict=True):
            table.add_row(*row)
        tables.append(table)
    return tables


CELLS: dict[str, Callable[["ShardProgress"], str]] = {
    "shard": lambda line: line.shard,
    "state": lambda line: line.state,
    "records": lambda line: f"{line.n_done:,} / {line.n_records:,}" if line.n_records else "",
    "per min": lambda line: "" if line.records_per_min is None else f"{line.records_per_min:,.0f}",
    "left": lambda line: "" if line.eta_min is None else f"{line.eta_min:,.0f} min",
    "attempt": lambda line: str(line.attempt) if line.attempt > 1 else "",
    "cost": lambda line: "" if line.cost_usd is None else f"${line.cost_usd:,.2f}",
    "estimate": lambda line: "" if line.estimated_usd is None else f"${line.estimated_usd:,.2f}",
}
