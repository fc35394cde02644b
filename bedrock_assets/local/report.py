"""The end of the demo: its table, and what it took, for people."""

import math
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bedrock_assets.local.demo import DemoResult
from bedrock_assets.prices import usd
from bedrock_assets.units import duration

N_ROWS = 5
BAR_CHARS = 24
_CELL_CHARS = 230
_PLAIN = ("response", "embedding")
"""Answers without a schema."""


def show(result: DemoResult, console: Console) -> None:
    """Print the first rows, and then rows, shares, tokens, cost, time and a line that opens the table."""
    parts = sorted(Path(result.table).glob("*.parquet"))
    if parts:
        rows = pl.scan_parquet(parts)
        console.print()
        console.print(_first_rows(rows, result))
        for column, values in result.enums.items():
            counts = dict(rows.group_by(column).len().collect().iter_rows())
            for i, line in enumerate(share_lines(values, counts)):
                _line(console, "" if i else column, line)
    for name, text in _facts(result):
        _line(console, name, text)


def share_lines(values: list[str], counts: dict[str, int]) -> list[str]:
    """A line per value of an enum, most frequent first: its name, a bar and its share of all rows that have one."""
    total = sum(counts.get(value, 0) for value in values)
    width = max(map(len, values), default=0)
    lines: list[str] = []
    for value in sorted(values, key=lambda one: -counts.get(one, 0)):
        share = counts.get(value, 0) / total if total else 0.0
        lines.append(f"{value:<{width}}  {'█' * math.ceil(share * BAR_CHARS):<{BAR_CHARS}} {share:4.0%}")
    return lines


def open_line(result: DemoResult) -> str:
    """A line for a shell in the same environment that prints the table."""
    store = Path(result.table).parent.parent
    store = store.relative_to(Path.cwd()) if store.is_relative_to(Path.cwd()) else store
    code = f"from bedrock_assets import scan_table; print(scan_table('{result.pipeline}', '{store}').collect())"
    return f'python -c "{code}"'


def _facts(result: DemoResult) -> Iterator[tuple[str, str]]:
    verdict = "every input row is in the table once" if result.conserved else "[red]rows are missing[/red]"
    outcome = "" if result.run == "SUCCESS" else "[red]a run failed, see dagster.log;[/red] "
    yield "rows", f"{outcome}{result.rows_in:,} in, {result.rows_out:,} out; {verdict}"
    yield "", f"{result.ok:,} ok, {result.error:,} error, {result.missing:,} missing"
    yield "tokens", f"{_number(result.input_tokens)} in, {_number(result.output_tokens)} out{_by(result.jobs)}"
    cost = "unknown" if result.cost_usd is None else usd(result.cost_usd)
    yield "cost", f"{cost} on AWS for so many tokens; here nothing was sent, and nothing is billed"
    yield "time", duration(result.seconds)
    yield "table", f"{result.table}/part-*.parquet"
    yield "open it", open_line(result)
    page = Path(result.table).with_name("report.html")
    if page.exists():
        yield "report", f"{page}, to be opened in a browser"


def _by(n_jobs: int) -> str:
    """How the answers were asked for."""
    return ", without a job" if n_jobs == 0 else f", in {n_jobs} job{'s' if n_jobs > 1 else ''}"


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _line(console: Console, name: str, text: str) -> None:
    console.print(f"[bold]{name:<10}[/bold] {text}", highlight=False, soft_wrap=True)


def _first_rows(rows: pl.LazyFrame, result: DemoResult) -> Table:
    names = rows.collect_schema().names()
    columns = [name for name in (result.fields or _PLAIN) if name in names]
    shown = rows.select(names[0], *columns).head(N_ROWS).collect()
    table = Table(box=box.SIMPLE_HEAD, title=f"the first {N_ROWS} rows", title_justify="left", pad_edge=False)
    for name in shown.columns:
        table.add_column(
            name, overflow="ellipsis" if name == names[0] else "fold", max_width=10 if name == names[0] else None
        )
    for row in shown.iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _CELL_CHARS else f"{text[: _CELL_CHARS - 1]}…"
