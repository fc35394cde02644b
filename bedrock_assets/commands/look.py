"""Commands that look and change nothing: status, doctor, estimate, sample, errors."""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bedrock_assets.commands.common import (
    Json,
    LocalHome,
    Name,
    bedrock_resource,
    console,
    errors,
    fail,
    notes_console,
    open_instance,
    open_store,
    pipeline_of,
    print_json,
    use,
    working,
)

if TYPE_CHECKING:
    from bedrock_assets.pipeline import Pipeline
    from bedrock_assets.progress import Progress

Names = Annotated[list[str] | None, typer.Argument(help="Pipelines; all of defs/ without any.")]
COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "cyan"}
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
        chosen = _pipelines(pipelines)
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


def _progress(chosen: Sequence["Pipeline"]) -> tuple[list["Progress"], list[str]]:
    from bedrock_assets.progress import progress_of

    store, found, troubles = open_store(), list["Progress"](), list[str]()
    bedrock = bedrock_resource().open(store, local=True)
    with open_instance() as instance:
        for pipeline in chosen:
            lines, trouble = progress_of(instance, pipeline, store, bedrock)
            found += lines
            troubles += [f"{pipeline.spec.name}: no news of its jobs: {trouble}"] if trouble else []
    return found, troubles


def _show(lines: Sequence["Progress"], troubles: Sequence[str]) -> None:
    if not lines:
        console.print("no shards yet: materialize raw_dataset")
    for table in _tables(lines):
        console.print(table)
    for line in lines:
        if line.message:
            console.print(f"{line.shard}: {line.message}", markup=False, highlight=False, soft_wrap=True)
    for trouble in troubles:
        notes_console.print(f"warning: {trouble}", style="yellow", soft_wrap=True)


def _tables(lines: Sequence["Progress"]) -> list[Table]:
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


CELLS: dict[str, Callable[["Progress"], str]] = {
    "shard": lambda line: line.shard,
    "state": lambda line: line.state,
    "records": lambda line: f"{line.n_done:,} / {line.n_records:,}" if line.n_records else "",
    "per min": lambda line: "" if line.records_per_min is None else f"{line.records_per_min:,.0f}",
    "left": lambda line: "" if line.eta_min is None else f"{line.eta_min:,.0f} min",
    "attempt": lambda line: str(line.attempt) if line.attempt > 1 else "",
    "cost": lambda line: "" if line.cost_usd is None else f"${line.cost_usd:,.2f}",
    "estimate": lambda line: "" if line.estimated_usd is None else f"${line.estimated_usd:,.2f}",
}


def doctor(pipelines: Names = None, home: LocalHome = None, as_json: Json = False) -> None:
    """
    Check settings, permissions, quotas and Dagster; exit code 1 if a check fails.

    Example: AWS_PROFILE=prod bedrock-assets doctor call_summaries
    """
    from bedrock_assets.doctor import examine
    from bedrock_assets.patient import Finding, Patient

    found: list[Finding] = []
    with errors():
        use(home)
        chosen, store, resource = _pipelines(pipelines), open_store(), bedrock_resource()
        places = resource.open(store, local=True)
        used = places.used_by((target for one in chosen for target in one.spec.targets), strict=False)
        patients = {place: Patient.of(place, store, resource) for place in used.all}
        if os.environ.get("DAGSTER_HOME"):
            with open_instance() as instance:
                found = list(examine(patients, places, chosen, instance))
        else:
            found = list(examine(patients, places, chosen, None))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in found])
    else:
        for finding in found:
            verdict = f"[{COLORS[finding.verdict]}]{finding.verdict:<7}[/]"
            console.print(f"{verdict} [bold]{finding.check}[/bold]: ", end="")
            console.print(finding.told, markup=False, highlight=False, soft_wrap=True)
            if finding.cure:
                console.print(f"        {finding.cure}", markup=False, highlight=False, style="dim", soft_wrap=True)
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(1)


def estimate(pipeline: Name, home: LocalHome = None, as_json: Json = False) -> None:
    """
    Tell what sending everything would take: records, jobs, waves, tokens, money, hours. Nothing is sent.

    Rows whose prompt has an answer already are left out.

    Example: bedrock-assets estimate call_summaries
    """
    from bedrock_assets.errors import BedrockError
    from bedrock_assets.outlook import outlook_of

    with errors():
        use(home)
        chosen, store = pipeline_of(pipeline), open_store()
        with working(f"reading {chosen.source.describe()}", quiet=as_json):
            try:
                found = outlook_of(chosen, store, bedrock_resource().open(store, local=True))
            except BedrockError as error:
                notes_console.print(
                    f"warning: how long jobs take is not known: {error}", style="yellow", soft_wrap=True
                )
                found = outlook_of(chosen, store, None)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    dollars = "unknown: set `price:`" if found.cost_usd is None else f"${found.cost_usd:,.2f}"
    hours = "unknown: no job of this pipeline has completed lately" if found.hours is None else f"{found.hours:,.1f}"
    lines: dict[str, object] = {
        "rows": f"{found.n_rows:,}",
        "without a record": f"{found.n_rejected:,}",
        "answered already": f"{found.n_reused:,} (or asked for another row)",
        "records to send": f"{found.n_records:,}, {found.n_bytes:,} bytes",
        "jobs": "none: on demand, one by one" if found.lane == "on_demand" else f"{found.n_jobs}",
        "waves": f"{found.n_waves}",
        "tokens": f"{found.input_tokens:,} in, {found.output_tokens:,} out",
        "basis": found.basis,
        "cost": dollars + ("" if found.on_demand_usd is None else f" (on demand ${found.on_demand_usd:,.2f})"),
        "prices": found.price_source or "-",
        "hours": hours,
    }
    for name, value in lines.items():
        console.print(f"[bold]{name:<18}[/bold]", end="")
        console.print(str(value), markup=False, highlight=False, soft_wrap=True)


def sample(
    pipeline: Name,
    n: Annotated[int, typer.Option("-n", min=1, help="First rows of the dataset.")] = 3,
    row_id: Annotated[list[str] | None, typer.Option("--id", help="A row by its record id; may be repeated.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the model now, on demand, at the full price.")] = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Show a few rows' records as the model gets them and, with --ask, what it answers.

    Example: bedrock-assets sample call_summaries -n 5 --ask
    """
    from bedrock_assets.trial import try_rows

    with errors():
        use(home)
        chosen, store, resource = pipeline_of(pipeline), open_store(), bedrock_resource()
        first = resource.open(store, local=True).at(chosen.spec.targets[0]) if ask else None
        found = try_rows(chosen, store, n, row_id or [], resource.open_runtime(first) if ask else None)
    if as_json:
        print_json([dataclasses.asdict(trial) for trial in found])
        return
    for trial in found:
        console.rule(trial.record_id)
        console.print_json(data=trial.record) if trial.record else notes_console.print(
            f"no record: {trial.error}", style="yellow"
        )
        if trial.answer:
            _show_answer(trial.answer, trial.cost_usd)


def _show_answer(answer: dict[str, Any], cost_usd: float | None) -> None:
    price = "price unknown" if cost_usd is None else f"${cost_usd:.6f}"
    console.print(f"[bold]{answer['status']}[/bold] {answer['stop_reason'] or ''} {price}")
    if answer.get("embedding") is not None:
        vector = list(answer["embedding"])
        console.print(f"[{', '.join(f'{value:.3g}' for value in vector[:5])}, ... {len(vector)} in all]", markup=False)
    for name in ("response", "fields", "error_code", "error_message"):
        if answer.get(name) is not None:
            console.print(f"{name}: {answer[name]}", markup=False, soft_wrap=True)


def _pipelines(names: Sequence[str] | None) -> list["Pipeline"]:
    from bedrock_assets.preview import known_pipelines

    known = names or known_pipelines()
    if not known:
        fail("there is no pipeline under defs/; name the path of a defs.yaml", 2)
    return [pipeline_of(name) for name in known]
