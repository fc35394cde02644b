"""The canary: a first small shard whose answers decide whether the others are sent."""

from dataclasses import dataclass

import polars as pl

from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.pipeline.records import Pipeline
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.store import Store


@dataclass(frozen=True)
class CanaryResult:
    """What the canary's answers say."""

    n_rows: int
    error_rate: float
    mean_output_tokens: float
    reasons: tuple[str, ...]
    """Thresholds that are not kept; none if the others may be sent."""

    @property
    def passed(self) -> bool:
        """Whether the others may be sent."""
        return not self.reasons


def canary_result(store: Store, pipeline: Pipeline, key: str) -> CanaryResult | None:
    """What the canary's answers say; None as long as there are none to its current prompts."""
    thresholds, outputs = pipeline.spec.canary, outputs_key(pipeline.spec.name, key)
    if thresholds is None or not store.exists(outputs):
        return None
    if store.parquet_facts(outputs).get("fingerprint") != current_shard(store, pipeline.spec.name, key).fingerprint:
        return None
    status, tokens = (pipeline.answer_columns[name] for name in ("status", "output_tokens"))
    answers = store.scan_parquet([outputs]).select(status=status, tokens=tokens)
    error_rate, mean = answers.select((pl.col("status") != "ok").mean(), pl.col("tokens").mean()).collect().row(0)
    found = {"error_rate": error_rate or 0.0, "mean_output_tokens": mean or 0.0}
    most = {"error_rate": thresholds.max_error_rate, "mean_output_tokens": thresholds.max_mean_output_tokens}
    reasons = [f"{name} is {found[name]:.4g}, above {bound:g}" for name, bound in most.items() if found[name] > bound]
    n_rows = answers.select(pl.len()).collect().item()
    return CanaryResult(n_rows, found["error_rate"], found["mean_output_tokens"], tuple(reasons))


@dataclass(frozen=True)
class CanaryGate:
    """Whether the shards behind a canary may be sent: they may, they wait, or they are refused."""

    waits: bool = False
    refusal: str = ""


OPEN_GATE = CanaryGate()


def is_canary(shard: str) -> bool:
    """Whether a shard is the first, which is sent before the others; of a single one it cannot be told from its key."""
    return shard.startswith("00000-")


def canary_of(shard: str) -> str:
    """The canary of the dataset that a shard belongs to."""
    return f"00000-{shard.partition('-')[2]}"


def canary_gate(store: Store, pipeline: Pipeline, ledger: Ledger, key: str) -> CanaryGate:
    """What the canary *key* says of the pipeline's other shards."""
    found = canary_result(store, pipeline, key)
    if found is not None:
        reasons = "; ".join(found.reasons)
        told = f"not sent, because of the answers of canary {key}: {reasons}. Look at them, and at the prompt"
        return OPEN_GATE if found.passed else CanaryGate(refusal=told)
    entry = ledger.entries.get(key)
    if entry is not None and entry.state.is_open:
        return CanaryGate(waits=True)
    why = (entry and entry.message) or "it was not launched"
    return CanaryGate(
        refusal=f"not sent, because canary {key} has no answers: {why}. Launch it first, or with the others"
    )
