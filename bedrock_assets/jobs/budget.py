"""What a launch may cost, and what shards have cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from bedrock_assets.config.task import TextTask
from bedrock_assets.errors import OverBudget
from bedrock_assets.families import Task
from bedrock_assets.jobs.request import Request
from bedrock_assets.pipeline.records import Pipeline
from bedrock_assets.prices import Estimator, Measured, Price, add, price_of
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import OutputFacts, ShardManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

READ_AT_ONCE = 16


@dataclass(frozen=True)
class LaunchEstimate:
    """What a launch may cost."""

    requests: tuple[Request, ...]
    """The requests, each with its own estimate."""
    cost_usd: float | None
    """Of all of them; None where the price of the model is not known."""
    past_usd: float | None
    """What the answers of the other shards have cost."""
    basis: str

    def __str__(self) -> str:
        if self.cost_usd is None:
            return "cost unknown: the price list does not have the model; set `price:`"
        return f"estimated cost ${self.cost_usd:,.2f}, by {self.basis}"


def estimate_launch(
    pipeline: Pipeline, store: Store, planned: Sequence[str], asked: Sequence[tuple[Request, ShardManifest, bool]]
) -> LaunchEstimate:
    """
    What a launch may cost.

    Args:
        planned: Keys of all shards of the dataset.
        asked: The requests of the launch, their shards, and whether each has been answered before, which costs nothing.

    Raises:
        OverBudget: More than the pipeline's budget, with what was paid for other shards; or a budget and no price.
    """
    price, task = price_of(pipeline.spec), pipeline.task
    launched = {request.shard for request, _, _ in asked}
    # Some of the shards tell how long answers are; what was paid is asked of all where it matters.
    facts = _facts(store, pipeline, planned if pipeline.spec.budget_usd is not None else planned[:READ_AT_ONCE])
    estimator = _estimator(facts.values(), task)
    costs = [_cost(price, estimator, request, shard, done=done) for request, shard, done in asked]
    others = [found.tokens for key, found in facts.items() if key not in launched]
    made = LaunchEstimate(
        requests=tuple(replace(r, estimated_usd=cost) for (r, _, _), cost in zip(asked, costs, strict=True)),
        cost_usd=sum(cost or 0.0 for cost in costs) if price else None,
        past_usd=price.cost_usd(reduce(add, others, {})) if price else None,
        basis=estimator.basis,
    )
    _require_budget(pipeline, made)
    return made


def estimator_of(store: Store, pipeline: Pipeline, shards: Sequence[str]) -> Estimator:
    """What foretells tokens, by the answers that some of the *shards* have."""
    return _estimator(_facts(store, pipeline, shards[:READ_AT_ONCE]).values(), pipeline.task)


def _estimator(facts: Iterable[OutputFacts], task: Task) -> Estimator:
    return Estimator(sum(map(_measured, facts), Measured()), _most_tokens(task))


def _facts(store: Store, pipeline: Pipeline, shards: Sequence[str]) -> dict[str, OutputFacts]:
    """What is told of the answers that are there."""

    def read(shard: str) -> tuple[str, OutputFacts] | None:
        key = outputs_key(pipeline.spec.name, shard)
        return (shard, OutputFacts.model_validate(store.parquet_facts(key))) if store.exists(key) else None

    return dict(found for found in map_ordered(read, shards, READ_AT_ONCE) if found)


def _measured(facts: OutputFacts) -> Measured:
    if not facts.n_records:
        return Measured()
    n_input, n_output = (sum(pair[i] for pair in facts.tokens.values()) for i in (0, 1))
    return Measured(facts.n_bytes, facts.n_records, n_input, n_output)


def _most_tokens(task: Task) -> int:
    return task.max_tokens if isinstance(task, TextTask) else 0


def _cost(
    price: Price | None, estimator: Estimator, request: Request, shard: ShardManifest, *, done: bool
) -> float | None:
    if price is None or done:
        return None if price is None else 0.0
    n_bytes = shard.n_bytes * request.n_records // max(1, shard.n_records)
    return price.most_usd(estimator.tokens(request.n_records, n_bytes, request.inference_mode))


def _require_budget(pipeline: Pipeline, made: LaunchEstimate) -> None:
    budget = pipeline.spec.budget_usd
    if budget is None:
        return
    if made.cost_usd is None or made.past_usd is None:
        raise OverBudget(
            f"budget_usd is {budget:g}, but nobody knows the price of {pipeline.spec.model}; set `price:`, or leave "
            "budget_usd out"
        )
    if made.cost_usd + made.past_usd > budget:
        raise OverBudget(
            f"{made} (and ${made.past_usd:,.2f} was paid for other shards), above budget_usd: {budget:g}. Nothing was "
            "sent: raise the budget, launch fewer shards, set a `canary:` for a better estimate, or lower max_tokens"
        )
