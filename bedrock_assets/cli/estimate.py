"""`bedrock-assets estimate`: cost and time before a launch."""

import dataclasses
from typing import TYPE_CHECKING

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    Name,
    bedrock_resource,
    console,
    errors,
    notes_console,
    open_store,
    pipeline_of,
    print_json,
    use,
    working,
)

if TYPE_CHECKING:
    pass


def estimate(pipeline: Name, home: LocalHome = None, as_json: Json = False) -> None:
    """
    Tell what sending everything would take: records, jobs, waves, tokens, money, hours. Nothing is sent.

    Rows whose prompt has an answer already are left out.

    Example: bedrock-assets estimate call_summaries
    """
    from bedrock_assets.errors import BedrockError
    from bedrock_assets.operations.estimate import estimate_pipeline

    with errors():
        use(home)
        chosen, store = pipeline_of(pipeline), open_store()
        with working(f"reading {chosen.source.describe()}", quiet=as_json):
            try:
                found = estimate_pipeline(chosen, store, bedrock_resource().open(store, local=True))
            except BedrockError as error:
                notes_console.print(
                    f"warning: how long jobs take is not known: {error}", style="yellow", soft_wrap=True
                )
                found = estimate_pipeline(chosen, store, None)
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
        "jobs": "none: on demand, one by one" if found.inference_mode == "on_demand" else f"{found.n_jobs}",
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
