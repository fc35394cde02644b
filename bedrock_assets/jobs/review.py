"""What a person needs to see before saying yes to a canary: its figures, some answers, and the cost of the rest."""

from dataclasses import dataclass
from functools import reduce

import polars as pl

from bedrock_assets.columns import columns
from bedrock_assets.jobs.budget import estimator_of
from bedrock_assets.jobs.canary import AnsweredCanary, CanaryResult, answered_canary, canary_result, is_canary
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.outputs.published import read_outputs
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import Tokens, add, price_of
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import outputs_key, raw_manifest_key
from bedrock_assets.storage.manifests import RawManifest
from bedrock_assets.storage.store import Store

SAMPLE_ROWS = 10


@dataclass(frozen=True)
class CanaryReview:
    """A canary's answers, and what it would take to answer the rest."""

    shard: str
    fingerprint: str
    """Of its prompts."""
    result: CanaryResult
    sample: pl.DataFrame
    """Up to `SAMPLE_ROWS` rows from all over the canary: the record id, what the prompt uses, the answer."""
    cost_usd: float | None
    """What its answers cost, in US dollars; None if the price or the tokens are not known."""
    n_shards: int
    """Shards that are requested and not sent."""
    n_records: int
    """Their records."""
    rest_usd: float | None
    """What they may cost, in US dollars; None if the price is not known."""
    basis: str
    """How that was estimated."""


def review_canary(store: Store, workload: Workload, ledger: Ledger) -> CanaryReview | None:
    """The canary of the current dataset; None as long as it has no answers to its prompts."""
    raw = store.read_model(raw_manifest_key(workload.spec.name), RawManifest)
    canary = answered_canary(store, workload.spec.name, raw.shards[0].key) if raw else None
    if raw is None or canary is None:
        return None
    price = price_of(workload.spec)
    waiting = [e.request for e in ledger.open_entries if not e.job_arn and not is_canary(e.request.shard)]
    estimator = estimator_of(store, workload, [shard.key for shard in raw.shards])
    # Their files are not read one by one: bytes are taken to be spread evenly.
    per_record = raw.prompt_bytes / max(1, raw.n_sendable)
    tokens = [estimator.tokens(one.n_records, round(per_record * one.n_records), one.inference_mode) for one in waiting]
    nothing: Tokens = {}
    return CanaryReview(
        shard=canary.shard.shard.key,
        fingerprint=canary.shard.fingerprint,
        result=canary_result(store, workload, canary),
        sample=_sample(store, workload, raw, canary),
        cost_usd=price.cost_usd(canary.facts.tokens) if price else None,
        n_shards=len(waiting),
        n_records=sum(one.n_records for one in waiting),
        rest_usd=price.most_usd(reduce(add, tokens, nothing)) if price else None,
        basis=estimator.basis,
    )


def _sample(store: Store, workload: Workload, raw: RawManifest, canary: AnsweredCanary) -> pl.DataFrame:
    names, shard = workload.answer_columns, canary.shard.shard
    used = [name for name in (workload.records.columns if workload.records else ()) if name in raw.columns]
    fields = [*workload.schema.fields] if workload.schema else ["response" if "response" in names else "embedding"]
    answer = [names[name] for name in ("status", *fields, "error_message")]
    every = max(1, shard.n_rows // SAMPLE_ROWS)

    def spread(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.select(columns(dict.fromkeys([workload.record_id, *used]))).gather_every(every).head(SAMPLE_ROWS)

    shown = shard_rows(store, raw, shard, workload.record_id, spread)
    redactor = workload.records.redactor if workload.records else None
    shown = redactor.redact(shown).rows if redactor else shown  # what the model was shown
    outputs = read_outputs(store, outputs_key(workload.spec.name, shard.key), workload.output_prefix)
    there = [name for name in answer if name in outputs.columns]
    found = shown.join(outputs.select(columns([workload.record_id, *there])), on=workload.record_id, how="left")
    errors = names["error_message"]
    return found.drop(errors) if errors in there and found[errors].null_count() == len(found) else found
