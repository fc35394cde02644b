"""`bedrock-assets models`: the catalogue of models, and what an account says otherwise."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bedrock_assets.cli.common import (
    Environment,
    Json,
    LocalHome,
    console,
    fail,
    notes_console,
    print_json,
    say,
    session,
    warn,
)

if TYPE_CHECKING:
    from bedrock_assets.operations.models import Difference, ModelRow


def models(
    pattern: Annotated[str, typer.Argument(help="Part of an id, a name or a family.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Also models that have ended or cannot run in batch.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print where the account says otherwise; exit code 1 if it does.")
    ] = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Show the models that are known: batch, lifecycle, limits, and US dollars per million tokens in a batch job.

    With --check the catalogue is held against what the account says: models, lifecycles, profiles, quotas.

    Example: bedrock-assets models claude
    """
    today = datetime.now(UTC).date()
    with session(home) as env:
        _tell_age(today)
        if check:
            _check(env, today, as_json=as_json)
            return
        from bedrock_assets.operations.models import list_models

        rows = list_models(today, pattern, every=every)
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
    else:
        _show(rows)


def _tell_age(today: date) -> None:
    from bedrock_assets.models import catalogue
    from bedrock_assets.operations.models import MAX_AGE_DAYS

    age = (today - catalogue().read).days
    if age > MAX_AGE_DAYS:
        warn(f"the catalogue of models was checked {age} days ago; install a newer bedrock-assets, or use --check")


def _check(env: Environment, today: date, *, as_json: bool) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    from bedrock_assets.models import catalogue
    from bedrock_assets.operations.models import check_models
    from bedrock_assets.operations.probes import Probe

    try:
        found = check_models(Probe.of(env.regions.home, env.store, env.bedrock), today, catalogue())
    except (BotoCoreError, ClientError) as error:
        fail(
            f"the account does not say which models it has: {error}; allow bedrock:ListFoundationModels and "
            "bedrock:ListInferenceProfiles, or run it with credentials that may",
            2,
        )
    if as_json:
        print_json([dataclasses.asdict(difference) for difference in found])
    else:
        _show_differences(found)
    if found:
        raise typer.Exit(1)


def _show(rows: "Sequence[ModelRow]") -> None:
    if not rows:
        notes_console.print("no such model is known; with --all, those that have ended are shown too")
        return
    cells = [("model", "batch", "lifecycle", "output", "context", "thinks", "$ in", "$ out")]
    for row in rows:
        limits = (_count(row.max_output), _count(row.context), row.thinking or "?")
        prices = (_usd(row.input_usd_per_mtok), _usd(row.output_usd_per_mtok))
        cells.append((row.id, _yes(row.batch), row.lifecycle, *limits, *prices))
    # Plain lines, as an id that is cut or wrapped to the terminal's width cannot be copied.
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    notes_console.print("limits in tokens; US dollars per million tokens in a batch job; ? is unknown", style="dim")


def _show_differences(found: "Sequence[Difference]") -> None:
    if not found:
        console.print("the account says the same of all models that it has")
        return
    table = Table("model", "fact", "catalogue", "account")
    for difference in found:
        table.add_row(*dataclasses.astuple(difference))
    console.print(table)


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "?"}[value]


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _usd(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"
