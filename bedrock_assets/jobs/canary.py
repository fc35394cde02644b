"""The canary: a first small shard whose answers decide whether the others are sent."""

from dataclasses import dataclass

import polars as pl

from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.store import Store


@dataclass(frozen=True)
class CanaryResult:
    """What the canary's answers show."""

    n_rows: int
    error_rate: float
    mean_output_tokens: float
    reasons: tuple[str, ...]
    """Thresholds that are exceeded; none if the other shards may be sent."""

    @property
    def passed(self) -> bool:
        """Whether the other shards may be sent."""
        return not self.reasons


def canary_result(store: Store, workload: Workload, key: str) -> CanaryResult | None:
    """What the answers of shard *key* show; None as long as there are none to its current prompts."""
    thresholds, outputs = workload.canary, outputs_key(workload.spec.name, key)
    facts = store.intact_facts(outputs) if thresholds else None
    if thresholds is None or not facts:
        return None
    if facts.get("fingerprint") != current_shard(store, workload.spec.name, key).fingerprint:
        return None
    status, tokens = (workload.answer_columns[name] for name in ("status", "output_tokens"))
    answers = store.read_parquet(outputs, lambda rows: rows.select(status=status, tokens=tokens))
    summary = answers.select((pl.col("status") != "ok").mean(), pl.col("tokens").mean(), pl.len())
    error_rate, mean_tokens, n_rows = summary.row(0)
    values = {"error_rate": error_rate or 0.0, "mean_output_tokens": mean_tokens or 0.0}
    bounds = {"error_rate": thresholds.max_error_rate, "mean_output_tokens": thresholds.max_mean_output_tokens}
    reasons = [
        f"{name} is {values[name]:.4g}, above {bound:g}" for name, bound in bounds.items() if values[name] > bound
    ]
    return CanaryResult(n_rows, values["error_rate"], values["mean_output_tokens"], tuple(reasons))


@dataclass(frozen=True)
class CanaryGate:
    """Whether the shards behind a canary may be sent, wait, or are refused."""

    waits: bool = False
    refusal: str = ""


OPEN_GATE = CanaryGate()


def is_canary(shard: str) -> bool:
    """Whether a shard is the first one, which is sent before the others."""
    return shard.startswith("00000-")


def canary_of(shard: str) -> str:
    """Key of the canary of a shard's dataset."""
    return f"00000-{shard.partition('-')[2]}"


def canary_gate(store: Store, workload: Workload, ledger: Ledger, key: str) -> CanaryGate:
    """What canary *key* says of the pipeline's other shards."""
    result = canary_result(store, workload, key)
    if result is not None:
        refusal = f"not sent, because the answers of canary {key} exceed a threshold: {'; '.join(result.reasons)}. "
        return OPEN_GATE if result.passed else CanaryGate(refusal=refusal + "Look at them, and at the prompt")
    entry = ledger.entries.get(key)
    if entry is not None and entry.state.is_open:
        return CanaryGate(waits=True)
    reason = (entry and entry.message) or "it was not launched"
    return CanaryGate(
        refusal=f"not sent, because canary {key} has no answers: {reason}. Launch it first, or with the others"
    )
