"""`bedrock-assets compare`: two prompts, or two models, on the same rows."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from bedrock_assets.cli.common import Json, LocalHome, console, print_json, say, session, working
from bedrock_assets.units import counted

if TYPE_CHECKING:
    from bedrock_assets.operations.compare import Comparison, Side
    from bedrock_assets.outputs.agreement import Agreement

MAX_CHARS = 200


def compare(
    first: Annotated[str, typer.Argument(help="A pipeline, by name or the path of its defs.yaml.")],
    second: Annotated[str, typer.Argument(help="Another one over the same rows.")],
    answer: Annotated[
        str | None, typer.Option(help="Answer column; by default label, the only field of schema, or response.")
    ] = None,
    match: Annotated[
        Literal["exact", "normalized"], typer.Option(help="normalized ignores case, outer punctuation and spaces.")
    ] = "exact",
    rows: Annotated[int, typer.Option(min=0, help="Rows to show whose answers differ.")] = 10,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Compare the tables of two pipelines: agreement, rows to read whose answers differ, tokens and cost.

    Example: bedrock-assets compare reviews_short_prompt reviews_long_prompt
    """
    from bedrock_assets.operations.compare import compare_tables

    with session(home) as env:
        pipelines = env.pipeline(first), env.pipeline(second)
        with working("reading both tables", quiet=as_json):
            found = compare_tables(env.store, *pipelines, answer=answer, match=match, n_disagreements=rows)
    if as_json:
        print_json(_plain(found))
    else:
        _show(found)


def _plain(found: "Comparison") -> dict[str, Any]:
    same = found.agreement
    return {
        "first": dataclasses.asdict(found.first),
        "second": dataclasses.asdict(found.second),
        "n_both": found.n_both,
        "n_compared": same.n,
        "n_equal": same.n_right,
        "agreement": same.accuracy,
        "agreement_95": same.accuracy_interval,
        "kappa": same.kappa,
        "kappa_95": same.kappa_interval,
        "disagreements": found.disagreements.to_dicts(),
    }


def _show(found: "Comparison") -> None:
    from bedrock_assets.outputs.agreement import MAX_LABELS

    table = Table("", found.first.name, found.second.name)
    for label, cells in _sides(found.first, found.second).items():
        table.add_row(label, *cells)
    console.print(table)
    same = found.agreement
    say(f"{counted(found.n_both, 'row')} in both tables, {same.n:,} answered by both, {same.n_right:,} alike")
    for name, value, interval in (
        ("agreement", same.accuracy, same.accuracy_interval),
        ("Cohen's kappa", same.kappa, same.kappa_interval),
    ):
        if value is not None and interval:
            say(f"{name} {value:.3f} ({interval.low:.3f} to {interval.high:.3f}, 95 % confidence)")
    if 0 < len(same.labels) <= MAX_LABELS:
        console.print(_confusion(same, found))
    if len(found.disagreements):
        differing = Table("record id", found.first.name, found.second.name, title="answers that differ")
        for row in found.disagreements.iter_rows():
            differing.add_row(*(str(value)[:MAX_CHARS] for value in row))
        console.print(differing)


def _sides(first: "Side", second: "Side") -> dict[str, list[str]]:
    from bedrock_assets.prices import usd

    def tokens(n: int | None) -> str:
        return "unknown" if n is None else f"{n:,}"

    return {
        "answer": [side.answer for side in (first, second)],
        "rows": [f"{side.n_rows:,}" for side in (first, second)],
        "answered": [f"{side.n_ok:,}" for side in (first, second)],
        "input tokens": [tokens(side.input_tokens) for side in (first, second)],
        "output tokens": [tokens(side.output_tokens) for side in (first, second)],
        "cost": ["unknown" if side.cost_usd is None else usd(side.cost_usd) for side in (first, second)],
    }


def _confusion(same: "Agreement", found: "Comparison") -> Table:
    names = [one.label for one in same.labels]
    table = Table(f"{found.first.name} \\ {found.second.name}", *names)
    for known in names:
        table.add_row(known, *(f"{same.pairs.get((known, given), 0):,}" for given in names))
    return table
