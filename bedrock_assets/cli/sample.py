"""`bedrock-assets sample`: a few rows answered on demand."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bedrock_assets.cli.common import Json, LocalHome, Name, console, notes_console, print_json, say, session

if TYPE_CHECKING:
    from bedrock_assets.operations.sample import Sample


def sample(
    pipeline: Name,
    n: Annotated[int, typer.Option("-n", min=1, help="First rows of the dataset.")] = 3,
    row_id: Annotated[list[str] | None, typer.Option("--id", help="A row by its record id; may be repeated.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the model now, on demand, at the full price.")] = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Show the prompts of a few rows and, with --ask, what the model answers. --json shows the whole records.

    Example: bedrock-assets sample call_summaries -n 5 --ask
    """
    from bedrock_assets.operations.sample import sample_rows

    with session(home) as env:
        chosen = env.with_rows(env.pipeline(pipeline))
        runtime = env.bedrock.open_runtime(env.regions.at(chosen.spec.targets[0])) if ask else None
        with env.naming(chosen):
            rows = sample_rows(chosen, env.store, n, row_id or [], runtime)
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
        return
    for row in rows:
        _show(row)


def _show(row: "Sample") -> None:
    console.rule(row.record_id)
    if row.prompt is not None:
        say(row.prompt)
    if row.record is None:
        notes_console.print(f"no record: {row.error}", style="yellow")
    if row.answer:
        _show_answer(row.answer, row.cost_usd)


def _show_answer(answer: dict[str, Any], cost_usd: float | None) -> None:
    from bedrock_assets.prices import usd

    price = "cost unknown" if cost_usd is None else usd(cost_usd)
    console.print(f"[bold]-> {answer['status']}[/bold] {answer['stop_reason'] or ''} {price}")
    if answer.get("response") is not None:
        say(answer["response"])
    if answer.get("embedding") is not None:
        vector = list(answer["embedding"])
        console.print(f"[{', '.join(f'{value:.3g}' for value in vector[:5])}, ... {len(vector)} in all]", markup=False)
    for name in ("fields", "error_code", "error_message"):
        if answer.get(name) is not None:
            console.print(f"{name}: {answer[name]}", markup=False, soft_wrap=True)
