"""`bedrock-assets approve`: a person's yes to the canary's answers."""

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bedrock_assets.cli.common import Json, LocalHome, Name, Yes, confirm, console, print_json, say, session
from bedrock_assets.errors import ApprovalRefused, ConfigError
from bedrock_assets.units import counted

if TYPE_CHECKING:
    from bedrock_assets.jobs.review import CanaryReview

TEXT_CHARS = 600


def approve(
    pipeline: Name,
    despite_thresholds: Annotated[
        bool,
        typer.Option("--despite-thresholds", help="Approve answers that miss a threshold; then launch the others."),
    ] = False,
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Show the canary's answers, and after a yes let the other shards be sent.

    It is for pipelines with `approval: true`; materializing the asset `approved` in the Dagster UI does the same.

    Example: bedrock-assets approve call_summaries
    """
    from bedrock_assets.jobs.gate import canary_to_approve
    from bedrock_assets.jobs.ledger import Ledger
    from bedrock_assets.jobs.review import review_canary
    from bedrock_assets.operations.approve import approve_canary

    with session(home) as env:
        workload = env.pipeline(pipeline).workload
        name = workload.spec.name
        if not workload.approval:
            raise ConfigError(f"{name} has no `approval: true`, so its shards wait for nobody")
        with env.instance() as instance:
            ledger = Ledger.of(workload.spec)
            ledger.refresh(instance)
            review = review_canary(env.store, workload, ledger)
            if review and not as_json:
                _show(review)
            canary_to_approve(env.store, workload, despite_thresholds=despite_thresholds)
            if review is None:
                raise ApprovalRefused(f"the answers of the canary of {name} are gone; launch it again")
            confirm(f"send the other shards of {name}?", yes=yes)
            found = approve_canary(
                instance,
                env.store,
                workload,
                getpass.getuser(),
                despite_thresholds=despite_thresholds,
                shown=review.fingerprint,
            )
    if as_json:
        print_json(_facts(review) | found.model_dump(mode="json"))
    else:
        rest = f"{counted(review.n_shards, 'shard')} to send" if review.n_shards else "launch the others, to be sent"
        console.print(f"{name}: approved; {rest} as slots become free")


def _facts(review: "CanaryReview") -> dict[str, Any]:
    result = review.result
    return {
        "n_rows": result.n_rows,
        "error_rate": result.error_rate,
        "mean_output_tokens": result.mean_output_tokens,
        "accuracy": result.agreement.accuracy if result.agreement else None,
        "cost_usd": review.cost_usd,
        "n_shards": review.n_shards,
        "n_records": review.n_records,
        "rest_usd": review.rest_usd,
        "sample": review.sample.to_dicts(),
    }


def _show(review: "CanaryReview") -> None:
    from bedrock_assets.assets.approval import cost_of_canary, rest_in_words

    result, mean = review.result, review.result.mean_output_tokens
    for number, row in enumerate(review.sample.iter_rows(named=True), 1):
        console.print(f"[bold]row {number}[/bold]")
        for column, value in row.items():
            text = "" if value is None else str(value)
            say(f"  {column}: {text if len(text) <= TEXT_CHARS else f'{text[:TEXT_CHARS]} ...'}")
    agreement = result.agreement
    known = agreement and agreement.accuracy is not None and f"{agreement.accuracy:.1%} of {agreement.n} rows"
    figures = {
        "canary": f"{review.shard}, {result.n_rows:,} rows",
        "without an answer": f"{result.error_rate:.1%}",
        "mean output tokens": "unknown" if mean is None else f"{mean:,.1f}",
        **({"as in the gold column": known} if known else {}),
        "thresholds": "; ".join(result.reasons) or "met",
        "it has cost": cost_of_canary(review),
        "the rest": rest_in_words(review),
    }
    for title, text in figures.items():
        console.print(f"[bold]{title:<22}[/bold] ", end="")
        say(text)
