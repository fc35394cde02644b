"""The canary: a first small shard whose answers decide whether the others are sent."""

import math
from dataclasses import dataclass

import polars as pl

from bedrock_assets.columns import columns
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.outputs.agreement import agreement_of, count_pairs
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import total_of
from bedrock_assets.shards.format import current_shard, shard_rows
from bedrock_assets.storage.keys import outputs_key, raw_manifest_key
from bedrock_assets.storage.manifests import OutputFacts, RawManifest
from bedrock_assets.storage.store import Store


@dataclass(frozen=True)
class CanaryResult:
    """What the canary's answers show."""

    n_rows: int
    error_rate: float
    mean_output_tokens: float | None
    """None if neither the answers nor their job's manifest tell."""
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
    if mean_tokens is None:
        mean_tokens = _mean_output(OutputFacts.model_validate(facts))
    reasons = list[str]()
    if (error_rate or 0.0) > thresholds.max_error_rate:
        reasons.append(f"error_rate is {error_rate:.4g}, above {thresholds.max_error_rate:g}")
    most = thresholds.max_mean_output_tokens
    if mean_tokens is not None and mean_tokens > most:
        reasons.append(f"mean_output_tokens is {mean_tokens:.4g}, above {most:g}")
    elif mean_tokens is None and math.isfinite(most) and error_rate < 1:
        reasons.append(
            "mean_output_tokens is unknown, because neither the answers nor their job's manifest tell tokens; leave "
            "max_mean_output_tokens out"
        )
    if workload.gold and workload.gold.least:
        reasons += _below_gold(store, workload, workload.gold, key)
    return CanaryResult(n_rows, error_rate or 0.0, mean_tokens, tuple(reasons))


def _below_gold(store: Store, workload: Workload, gold: GoldSpec, key: str) -> list[str]:
    """Where the canary's answers do not agree with the known ones of its rows; `gold` may be newer than both."""
    name, id_column = workload.spec.name, workload.record_id
    answer, status = gold.answer or "", workload.answer_columns["status"]
    raw = store.read_model(raw_manifest_key(name), RawManifest)
    if raw is None or gold.column not in raw.columns:
        return [f"gold.column {gold.column!r} is not in raw_dataset yet; materialize it again"]
    if answer not in store.scan_parquet([outputs_key(name, key)]).collect_schema():
        return [f"gold.answer {answer!r} is not among its answers, which are older; launch it again"]
    shard = current_shard(store, name, key).shard
    known = shard_rows(store, raw, shard, lambda rows: rows.select(columns([id_column, gold.column])))
    given = store.read_parquet(outputs_key(name, key), lambda rows: rows.select(columns([id_column, answer, status])))
    pairs = count_pairs(known.join(given, on=id_column).lazy(), gold, answer, status).collect()
    return agreement_of(pairs).below(gold.least)


def _mean_output(facts: OutputFacts) -> float | None:
    """Mean output tokens of the answers that were paid for, by their job's manifest."""
    n_output = total_of(facts.tokens).n_output
    return None if n_output is None or not facts.n_records else n_output / facts.n_records


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
