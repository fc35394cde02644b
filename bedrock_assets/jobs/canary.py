"""The canary: a first small shard whose answers decide whether the others are sent."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from bedrock_assets.columns import columns
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.outputs.agreement import Agreement, agreement_of, count_pairs
from bedrock_assets.outputs.published import read_outputs, renamed
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import total_of
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import outputs_key, raw_manifest_key, shard_manifest_key
from bedrock_assets.storage.manifests import OutputFacts, RawManifest, ShardManifest
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
    agreement: Agreement | None = None
    """With known answers, where the pipeline has some for these rows."""

    @property
    def passed(self) -> bool:
        """Whether the other shards may be sent."""
        return not self.reasons


class AnsweredCanary(NamedTuple):
    """A canary with answers to its current prompts."""

    shard: ShardManifest
    facts: OutputFacts

    @property
    def identity(self) -> tuple[str, str, str]:
        """The same as long as `canary_result` is."""
        return self.shard.fingerprint, self.shard.raw_revision, self.facts.version


def is_canary(shard: str) -> bool:
    """Whether a shard is the first one, which is sent before the others."""
    return shard.startswith("00000-")


def canary_of(shard: str) -> str:
    """Key of the canary of a shard's dataset."""
    return f"00000-{shard.partition('-')[2]}"


def answered_canary(store: Store, pipeline: str, key: str) -> AnsweredCanary | None:
    """
    Canary *key*, from two small reads; None as long as there are no answers to its current prompts.

    Raises:
        BrokenFile: The manifest of its prompts is cut or damaged.
    """
    facts = store.intact_facts(outputs_key(pipeline, key))
    shard = store.read_model(shard_manifest_key(pipeline, key), ShardManifest) if facts else None
    if shard is None or not facts or facts.get("fingerprint") != shard.fingerprint:
        return None
    return AnsweredCanary(shard, OutputFacts.model_validate(facts))


def canary_result(store: Store, workload: Workload, canary: AnsweredCanary) -> CanaryResult:
    """Hold the canary's answers against the thresholds; its answers are read, and known ones if there are."""
    thresholds, outputs = workload.canary, outputs_key(workload.spec.name, canary.shard.shard.key)
    status, tokens = (workload.answer_columns[name] for name in ("status", "output_tokens"))
    answers = read_outputs(
        store, outputs, workload.output_prefix, lambda rows: rows.select(status=status, tokens=tokens)
    )
    summary = answers.select((pl.col("status") != "ok").mean(), pl.col("tokens").mean(), pl.len())
    error_rate, mean_tokens, n_rows = summary.row(0)
    if mean_tokens is None:
        mean_tokens = _mean_output(canary.facts)
    reasons = list[str]()
    if thresholds and (error_rate or 0.0) > thresholds.max_error_rate:
        reasons.append(f"error_rate is {error_rate:.4g}, above {thresholds.max_error_rate:g}")
    most = thresholds.max_mean_output_tokens if thresholds else math.inf
    if mean_tokens is not None and mean_tokens > most:
        reasons.append(f"mean_output_tokens is {mean_tokens:.4g}, above {most:g}")
    elif mean_tokens is None and math.isfinite(most) and error_rate < 1:
        reasons.append(
            "mean_output_tokens is unknown, because neither the answers nor their job's manifest tell tokens; leave "
            "max_mean_output_tokens out"
        )
    agreement = None
    if workload.gold:
        agreement, absent = _agreement(store, workload, workload.gold, canary.shard)
        reasons += (agreement.below(workload.gold.least) if agreement else [absent]) if workload.gold.least else []
    return CanaryResult(n_rows, error_rate or 0.0, mean_tokens, tuple(reasons), agreement)


def _agreement(store: Store, workload: Workload, gold: GoldSpec, canary: ShardManifest) -> tuple[Agreement | None, str]:
    """How far its answers agree with known ones, or why that is unknown; `gold` may be newer than both."""
    name, id_column, prefix = workload.spec.name, workload.record_id, workload.output_prefix
    outputs = outputs_key(name, canary.shard.key)
    answer, status = gold.answer or "", workload.answer_columns["status"]
    raw = store.read_model(raw_manifest_key(name), RawManifest)
    if raw is None or gold.column not in raw.columns:
        return None, f"gold.column {gold.column!r} is not in raw_dataset yet; materialize it again"
    if answer not in renamed(store.scan_parquet([outputs]), prefix).collect_schema():
        return None, f"gold.answer {answer!r} is not among its answers, which are older; launch it again"
    known = shard_rows(store, raw, canary.shard, id_column, lambda rows: rows.select(columns([id_column, gold.column])))
    given = read_outputs(store, outputs, prefix, lambda rows: rows.select(columns([id_column, answer, status])))
    return agreement_of(count_pairs(known.join(given, on=id_column).lazy(), gold, answer, status).collect()), ""


def _mean_output(facts: OutputFacts) -> float | None:
    """Mean output tokens of the answers that were paid for, by their job's manifest."""
    n_output = total_of(facts.tokens).n_output
    return None if n_output is None or not facts.n_records else n_output / facts.n_records
