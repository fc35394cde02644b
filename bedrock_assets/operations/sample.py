"""A few rows tried before paying for all: their records as the model would get them, and its answers on demand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.errors import ConfigError
from bedrock_assets.outputs.buffers import buffer_for
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.pipeline.ids import wire_id
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_MESSAGE, LINE
from bedrock_assets.prices import price_of
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered


@dataclass(frozen=True)
class Sample:
    """One row."""

    record_id: str
    record: dict[str, Any] | None
    """`modelInput`; None where none can be made."""
    error: str | None
    answer: dict[str, Any] = field(default_factory=dict)
    """status, response or embedding, fields, stop_reason, tokens, error; empty if the model was not asked."""
    cost_usd: float | None = None
    """Of the answer, on demand; None where the model was not asked, or the price is not known."""


def sample_rows(
    pipeline: Pipeline, store: Store | None, n_rows: int, ids: Sequence[str] = (), runtime: Runtime | None = None
) -> list[Sample]:
    """
    The first rows of a source, or those with certain ids.

    Args:
        runtime: Where the model is asked, one call a record at the full price; None asks nobody.

    Raises:
        ConfigError: An id is not in the source.
        BedrockUnavailable: Throttled or unreachable.
        BedrockError: The account may not call the model.
    """
    made = pipeline.with_records(_rows(pipeline, store, n_rows, ids))
    answers = _ask(pipeline, runtime, made) if runtime else {}
    found: list[Sample] = []
    for record_id, line, error in made.select(pipeline.record_id, LINE, ERROR_MESSAGE).iter_rows():
        answer = answers.get(record_id, {})
        cost = _cost(pipeline, answer) if answer else None
        found.append(Sample(record_id, json.loads(line)["modelInput"] if line else None, error, answer, cost))
    return found


def _rows(pipeline: Pipeline, store: Store | None, n_rows: int, ids: Sequence[str]) -> pl.DataFrame:
    kept: list[pl.DataFrame] = []
    wanted = len(ids) if ids else n_rows
    for rows in read_rows(pipeline, store):
        kept.append(rows.filter(pl.col(pipeline.record_id).is_in(list(ids))) if ids else rows.head(wanted))
        wanted -= len(kept[-1])
        if wanted <= 0:
            break
    found = pl.concat(kept) if kept else pl.DataFrame()
    absent = sorted({*ids} - {*found[pipeline.record_id]}) if ids else []
    if found.is_empty() or absent:
        what = f"no row with {pipeline.record_id} {absent[0]!r}" if absent else "no rows"
        raise ConfigError(f"{pipeline.source.describe()} has {what}")
    return found


def _ask(pipeline: Pipeline, runtime: Runtime, made: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """By record id, what the model said, read as a job's output is."""
    spec = pipeline.spec
    answers = Answers(pipeline.family, pipeline.schema, buffer_for(pipeline.dimensions))

    def call(line: str) -> bytes:
        return runtime.answer(spec.model, line, spec.model_invocation_type, final=False).encode()

    sent = made.drop_nulls(LINE)
    answers.add_all(map_ordered(call, sent[LINE], spec.limits.max_concurrent_requests))
    ids = sent.select(record_id=pipeline.record_id, wire_id=wire_id(pl.col(pipeline.record_id)))
    rows = ids.join(answers.outcomes(), on="wire_id", how="left", maintain_order="left").drop("wire_id", "retryable")
    return {row.pop("record_id"): row for row in rows.iter_rows(named=True)}


def _cost(pipeline: Pipeline, answer: dict[str, Any]) -> float | None:
    price = price_of(pipeline.spec)
    tokens = (answer["input_tokens"] or 0, answer["output_tokens"] or 0)
    return price.cost_usd({InferenceMode.ON_DEMAND: tokens}) if price else None
