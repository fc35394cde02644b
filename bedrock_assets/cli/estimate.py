"""`bedrock-assets estimate`: cost and time before a launch."""

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from bedrock_assets.cli.common import (
    Environment,
    Json,
    LocalHome,
    WorkloadName,
    print_fields,
    print_json,
    session,
    warn,
    working,
)
from bedrock_assets.errors import ConfigError

if TYPE_CHECKING:
    from bedrock_assets.aws.model_invocation_jobs import Jobs
    from bedrock_assets.inbox.inbox import Inbox
    from bedrock_assets.operations.estimate import PipelineEstimate
    from bedrock_assets.pipeline.pipeline import Pipeline

WORDS = {
    "without a record": "rows that become an error row, as they cannot be asked",
    "waves": "groups of jobs one after the other, as limits.max_jobs run at once",
    "hours": "until the last answer, at the pace of earlier jobs",
}
"""What the names mean."""


def estimate(pipeline: WorkloadName, home: LocalHome = None, as_json: Json = False) -> None:
    """
    Estimate records, jobs, waves, tokens, money and hours to send everything. Nothing is sent.

    Rows whose prompt has an answer already are left out. Of an inbox, the files that wait in its folder are estimated.

    Example: bedrock-assets estimate call_summaries
    """
    with session(home) as env:
        chosen = env.workload(pipeline)
        with env.naming(chosen), working(f"reading the rows of {chosen.spec.name}", quiet=as_json):
            result = _gather(env, chosen)
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        _show(result)


def _gather(env: Environment, chosen: "Pipeline | Inbox") -> "PipelineEstimate":
    from bedrock_assets.errors import BedrockError

    try:
        regions = env.regions
    except ConfigError as error:
        warn(f"how long jobs take is unknown: {error}")
        return _estimate(env, chosen, None)
    try:
        return _estimate(env, chosen, regions)
    except BedrockError as error:
        warn(f"how long jobs take is unknown: {error}")
        return _estimate(env, chosen, None)


def _estimate(env: Environment, chosen: "Pipeline | Inbox", bedrock: "Jobs | None") -> "PipelineEstimate":
    from bedrock_assets.inbox.inbox import Inbox
    from bedrock_assets.jobs.count_tokens import TokenCounter
    from bedrock_assets.operations.estimate import estimate_pipeline
    from bedrock_assets.operations.estimate_inbox import estimate_inbox

    if not isinstance(chosen, Inbox):
        open_runtime = partial(env.bedrock.open_runtime, brief=True)
        counter = TokenCounter(chosen.spec, env.regions, open_runtime) if bedrock else None
        return estimate_pipeline(env.with_rows(chosen), env.store, bedrock, counter)
    result, refused = estimate_inbox(chosen, env.store, bedrock)
    for line in refused:
        warn(line)
    return result


def _show(result: "PipelineEstimate") -> None:
    from bedrock_assets.prices import usd

    cost = "unknown: set `price:`" if result.cost_usd is None else usd(result.cost_usd)
    on_demand = "" if result.on_demand_usd is None else f" (on demand {usd(result.on_demand_usd)})"
    hours = "unknown: no job of this pipeline has completed lately" if result.hours is None else f"{result.hours:,.1f}"
    print_fields(
        {
            "rows": result.n_rows,
            "without a record": result.n_rejected,
            "answered already": f"{result.n_reused:,} (or sent for another row)",
            "records to send": f"{result.n_records:,}, {result.n_bytes:,} bytes",
            "jobs": "none: on demand, one by one" if result.inference_mode == "on_demand" else result.n_jobs,
            "waves": result.n_waves,
            "tokens": f"{result.input_tokens:,} in, {result.output_tokens:,} out",
            "basis": result.basis,
            "cost": cost + on_demand,
            "prices": result.price_source or "-",
            "hours": hours,
        },
        WORDS,
    )
