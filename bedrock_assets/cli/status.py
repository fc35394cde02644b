"""`bedrock-assets status`: how the shards of pipelines, and the files of inboxes, progress."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bedrock_assets.cli.common import Environment, Json, LocalHome, Names, console, print_json, say, session, tell, warn

if TYPE_CHECKING:
    from bedrock_assets.config import WorkloadSpec
    from bedrock_assets.operations.status import ShardProgress

WATCH_S = 5

COLUMNS: dict[str, Callable[["ShardProgress"], str]] = {
    "shard": lambda row: row.shard,
    "state": lambda row: row.request_state or row.state,
    "Bedrock's job": lambda row: row.job_status,
    "records": lambda row: f"{row.n_done:,} / {row.n_records:,}" if row.n_records else "",
    "per min": lambda row: "" if row.records_per_min is None else f"{row.records_per_min:,.0f}",
    "left": lambda row: "" if row.eta_min is None else f"{row.eta_min:,.0f} min",
    "attempt": lambda row: str(row.attempt) if row.attempt > 1 else "",
    "cost": lambda row: ("unknown" if row.is_answered else "") if row.cost_usd is None else _usd(row.cost_usd),
    "estimate": lambda row: "" if row.estimated_usd is None else _usd(row.estimated_usd),
}
"""Columns of the table, with the text of a cell."""
WORDS = ("shard", "state", "Bedrock's job")
"""Columns of text."""
ALWAYS = (*WORDS, "records", "cost")


def _usd(value: float) -> str:
    from bedrock_assets.prices import usd

    return usd(value)


def status(
    pipelines: Names = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every few seconds, until Ctrl-C.")] = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Show the progress of pipelines and inboxes, shard by shard and file by file.

    If the YAML of one is wrong, that is told, the others are shown, and the exit code is 2.

    Example: bedrock-assets status call_summaries --watch
    """
    with session(home) as env:
        chosen, errors = env.specs(pipelines)
        for error in errors:
            tell(str(error))
        if as_json:
            print_json([dataclasses.asdict(row) for row in _gather(env, chosen).rows])
        elif watch and chosen:
            _watch(env, chosen)
        elif chosen:
            _show(chosen, _gather(env, chosen))
    if errors:
        raise typer.Exit(2)


@dataclasses.dataclass(frozen=True)
class News:
    """What is known at one moment."""

    rows: list["ShardProgress"]
    """Progress of all shards and files."""
    tables: dict[str, str]
    """The state of the tables, by pipeline."""
    warnings: list[str]
    held_back: dict[str, str]
    """What a person has to do so that shards are sent, by pipeline."""


def _gather(env: Environment, specs: Sequence["WorkloadSpec"]) -> News:
    from bedrock_assets.config import PipelineSpec
    from bedrock_assets.operations.status import held_back, shard_progress
    from bedrock_assets.operations.table_state import table_state

    news = News([], {}, [], {})
    with env.instance() as instance:
        for spec in specs:
            shards, troubles = shard_progress(instance, spec, env.store, env.regions)
            news.rows.extend(shards)
            news.warnings.extend(f"{spec.name}: {trouble}" for trouble in troubles)
            if isinstance(spec, PipelineSpec):
                news.tables[spec.name] = str(table_state(instance, spec, env.store))
                news.held_back[spec.name] = held_back(instance, spec, env.store)
    return news


def _watch(env: Environment, specs: Sequence["WorkloadSpec"]) -> None:
    """Show the news every few seconds: in place on a terminal; into a pipe whenever they are others."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    if not console.is_terminal:
        last = None
        while True:
            news = _gather(env, specs)
            if news != last:
                _show(specs, news)
            last = news
            time.sleep(WATCH_S)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            news = _gather(env, specs)
            lines = [Text(line) for line in (*_lines(specs, news), *news.warnings)]
            live.update(Group(*_tables(news.rows), *lines), refresh=True)
            time.sleep(WATCH_S)


def _show(specs: Sequence["WorkloadSpec"], news: News) -> None:
    for table in _tables(news.rows):
        console.print(table)
    for line in _lines(specs, news):
        say(line)
    for warning in news.warnings:
        warn(warning)


def _lines(specs: Sequence["WorkloadSpec"], news: News) -> list[str]:
    """What is told below the tables: what there is not yet, why shards failed, and the pipelines' own tables."""
    from bedrock_assets.config import InboxSpec

    lines = list[str]()
    for spec in specs:
        if not any(row.pipeline == spec.name for row in news.rows):
            cure = f"drop some into {spec.dropped_to}" if isinstance(spec, InboxSpec) else "materialize raw_dataset"
            lines.append(f"{spec.name}: no {'files' if isinstance(spec, InboxSpec) else 'shards'} yet: {cure}")
        lines += [f"{row.shard}: {row.message}" for row in news.rows if row.message and row.pipeline == spec.name]
        if note := news.held_back.get(spec.name):
            lines.append(f"{spec.name}: {note}")
        if spec.name in news.tables:
            lines.append(f"{spec.name}, table: {news.tables[spec.name]}")
    return lines


def _tables(rows: Sequence["ShardProgress"]) -> list[Table]:
    return [_table(name, list(group)) for name, group in groupby(rows, lambda row: row.pipeline)]


def _table(pipeline: str, rows: Sequence["ShardProgress"]) -> Table:
    """A table of one pipeline; the columns of `ALWAYS` stay, others are there while a shard has something in them."""
    n_done, n_records = sum(row.n_done for row in rows), sum(row.n_records for row in rows)
    costs_usd = [row.cost_usd for row in rows if row.cost_usd is not None]
    n_unknown = sum(row.is_answered and row.cost_usd is None for row in rows)
    caption = f"{n_done:,} of {n_records:,} records" + (f", {_usd(sum(costs_usd))} so far" if costs_usd else "")
    caption += f", the cost of {n_unknown:,} unknown" if n_unknown else ""
    table = Table(title=pipeline, caption=caption)
    columns = {title: [cell(row) for row in rows] for title, cell in COLUMNS.items()}
    columns = {title: cells for title, cells in columns.items() if title in ALWAYS or any(cells)}
    for title in columns:
        table.add_column(title, no_wrap=True, justify="left" if title in WORDS else "right")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table
