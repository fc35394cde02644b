"""What a launch may cost, and what answered shards have cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from bedrock_assets.config.task import TextTask
from bedrock_assets.errors import OverBudget
from bedrock_assets.jobs.count_tokens import CountingEstimator, TokenCounter, sample_of
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import NO_PRICE, Estimator, Measured, Price, Tokens, add, price_of, total_of, usd
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import OutputFacts, ShardManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

SAMPLE_SHARDS = 16
"""Answered shards that are enough to tell how long answers are; as many are read at once."""


@dataclass(frozen=True)
class LaunchEstimate:
    """What a launch may cost."""

    requests: tuple[Request, ...]
    """The requests, each with its own estimate."""
    cost_usd: float | None
    """Of all of them; None where the price of the model is not known."""
    past_usd: float | None
    """What the answers of the other shards have cost; None where the price, or their tokens, are not known."""
    basis: str
    """How tokens were estimated."""

    def __str__(self) -> str:
        if self.cost_usd is None:
            return f"cost {NO_PRICE}"
        return f"estimated cost {usd(self.cost_usd)}, by {self.basis}"


def estimate_launch(
    workload: Workload,
    store: Store,
    planned: Sequence[str],
    launch: Sequence[tuple[Request, ShardManifest, bool]],
    counter: TokenCounter | None = None,
) -> LaunchEstimate:
    """
    Estimate what a launch costs, and hold it against the budget.

    Args:
        planned: Keys of all shards of the dataset.
        launch: The requests, their shards, and whether each was answered before, so that it costs nothing.
        counter: Asks the model to count the tokens of a few records; None estimates all of them.

    Raises:
        OverBudget: The launch and what was paid for other shards exceed the budget; or there is a budget and no price.
    """
    price, launched = price_of(workload.spec), {request.shard for request, _, _ in launch}
    # A few shards show how long answers are; what was paid is read from all of them only where it matters.
    facts = _facts(store, workload, planned if workload.budget_usd is not None else planned[:SAMPLE_SHARDS])
    estimator = _estimator(workload, facts.values())
    prompts = [request.prompts for request, _, done in launch if request.n_records and not done]
    if counter and price and prompts:
        estimator = CountingEstimator(estimator, counter.count(sample_of(store, prompts)))
    costs = [_cost(price, estimator, request, shard, done=done) for request, shard, done in launch]
    others: list[Tokens] = [found.tokens for key, found in facts.items() if key not in launched]
    estimate = LaunchEstimate(
        requests=tuple(replace(r, estimated_usd=cost) for (r, _, _), cost in zip(launch, costs, strict=True)),
        cost_usd=sum(cost for cost in costs if cost is not None) if price and None not in costs else None,
        past_usd=price.cost_usd(reduce(add, others, {})) if price else None,
        basis=estimator.basis,
    )
    _require_budget(workload, estimate)
    return estimate


def estimator_of(store: Store, workload: Workload, shards: Sequence[str]) -> Estimator:
    """Predicts tokens from the answers that some of the *shards* have; those that do not tell tokens are left out."""
    return _estimator(workload, _facts(store, workload, shards[:SAMPLE_SHARDS]).values())


def _estimator(workload: Workload, facts: Iterable[OutputFacts]) -> Estimator:
    task = workload.records.task if workload.records else None
    return Estimator(sum(map(_measured, facts), Measured()), task.max_tokens if isinstance(task, TextTask) else 0)


def _facts(store: Store, workload: Workload, shards: Sequence[str]) -> dict[str, OutputFacts]:
    """By shard, what the outputs' own metadata say, where there are outputs."""

    def read(shard: str) -> tuple[str, OutputFacts] | None:
        facts = store.intact_facts(outputs_key(workload.spec.name, shard, workload.spec.folder_of(shard)))
        return (shard, OutputFacts.model_validate(facts)) if facts else None

    return dict(found for found in map_ordered(read, shards, SAMPLE_SHARDS) if found)


def _measured(facts: OutputFacts) -> Measured:
    if not facts.n_records:
        return Measured()
    total = total_of(facts.tokens)
    if total.n_input is None or total.n_output is None:
        return Measured()
    return Measured(facts.n_bytes, facts.n_records, total.n_input, total.n_output)


def _cost(
    price: Price | None, estimator: Estimator | CountingEstimator, request: Request, shard: ShardManifest, *, done: bool
) -> float | None:
    if price is None or done:
        return None if price is None else 0.0
    n_bytes = shard.n_bytes * request.n_records // max(1, shard.n_records)
    return price.most_usd(estimator.tokens(request.n_records, n_bytes, request.inference_mode))


def _require_budget(workload: Workload, estimate: LaunchEstimate) -> None:
    budget = workload.budget_usd
    if budget is None:
        return
    if estimate.cost_usd is not None and estimate.past_usd is None:
        raise OverBudget(
            f"budget_usd is {budget:g}, but what other shards have cost is not known: neither their answers nor their "
            "jobs' manifests tell the tokens; leave budget_usd out"
        )
    if estimate.cost_usd is None or estimate.past_usd is None:
        raise OverBudget(
            f"budget_usd is {budget:g}, but the price of {workload.spec.model} is not known; set `price:`, or leave "
            "budget_usd out"
        )
    if estimate.cost_usd + estimate.past_usd > budget:
        raise OverBudget(
            f"{estimate} (and {usd(estimate.past_usd)} was paid for other shards), above budget_usd: {budget:g}. "
            "Nothing was sent: raise the budget, launch fewer shards, set a `canary:` for a better estimate, or lower "
            "max_tokens"
        )
