"""Try a few rows before paying for all: their records as the model gets them, and its answers on demand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.columns import column
from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.errors import ConfigError
from bedrock_assets.outputs.buffers import buffer_for
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.pipeline.ids import wire_id
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_MESSAGE, LINE
from bedrock_assets.prices import price_of
from bedrock_assets.storage.manifests import InferenceMode, TokenCount
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered


@dataclass(frozen=True)
class Sample:
    """One row of a sample."""

    record_id: str
    record: dict[str, Any] | None
    """`modelInput`; None if the row makes no record."""
    error: str | None
    answer: dict[str, Any] = field(default_factory=dict)
    """status, response or embedding, fields, stop_reason, tokens, error; empty if the model was not called."""
    cost_usd: float | None = None
    """On-demand cost of the answer; None without an answer, or if its tokens or the price are unknown."""
    prompt: str | None = None
    """The prompt, or the text to embed, as people read it."""


def sample_rows(
    pipeline: Pipeline, store: Store | None, n_rows: int, ids: Sequence[str] = (), runtime: Runtime | None = None
) -> list[Sample]:
    """
    Make the records of a source's first rows, or of those with certain ids, and send them if *runtime* is given.

    Args:
        store: Holds the table of another pipeline, if the source is one.
        ids: Record ids; without any, the first *n_rows* rows.
        runtime: Sends each record in one call, at the on-demand price; None sends nothing.

    Raises:
        ConfigError: An id is not in the source.
        BedrockUnavailable: Bedrock throttles or is not reachable.
        BedrockError: The account may not call the model.
    """
    given = _rows(pipeline, store, n_rows, ids)
    rows, texts = pipeline.records.make(given), pipeline.records.texts(given)
    answers = _ask(pipeline, runtime, rows) if runtime else {}
    samples: list[Sample] = []
    for text, (record_id, line, error) in zip(
        texts, rows.select(pipeline.record_id, LINE, ERROR_MESSAGE).iter_rows(), strict=True
    ):
        answer = answers.get(record_id, {})
        cost_usd = _cost_usd(pipeline, answer) if answer else None
        record = json.loads(line)["modelInput"] if line else None
        samples.append(Sample(record_id, record, error, answer, cost_usd, text))
    return samples


def _rows(pipeline: Pipeline, store: Store | None, n_rows: int, ids: Sequence[str]) -> pl.DataFrame:
    kept: list[pl.DataFrame] = []
    wanted = len(ids) if ids else n_rows
    for rows in read_rows(pipeline, store):
        kept.append(rows.filter(column(pipeline.record_id).is_in(list(ids))) if ids else rows.head(wanted))
        wanted -= len(kept[-1])
        if wanted <= 0:
            break
    sample = pl.concat(kept) if kept else pl.DataFrame()
    absent = sorted({*ids} - {*sample[pipeline.record_id]}) if ids else []
    if sample.is_empty() or absent:
        what = f"no row with {pipeline.record_id} {absent[0]!r}" if absent else "no rows"
        raise ConfigError(f"{pipeline.source.describe()} has {what}")
    return sample


def _ask(pipeline: Pipeline, runtime: Runtime, rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The model's answers by record id, read in the same way as a job's output."""
    spec = pipeline.spec
    answers = Answers(pipeline.family, pipeline.schema, buffer_for(pipeline.workload.dimensions))

    def call(line: str) -> bytes:
        return runtime.answer(spec.model, line, spec.model_invocation_type, final=False).encode()

    sent = rows.drop_nulls(LINE)
    answers.add_all(map_ordered(call, sent[LINE], spec.limits.max_concurrent_requests))
    ids = sent.select(record_id=pipeline.record_id, wire_id=wire_id(column(pipeline.record_id)))
    joined = ids.join(answers.outcomes(), on="wire_id", how="left", maintain_order="left").drop("wire_id", "retryable")
    return {row.pop("record_id"): row for row in joined.iter_rows(named=True)}


def _cost_usd(pipeline: Pipeline, answer: dict[str, Any]) -> float | None:
    price = price_of(pipeline.spec)
    tokens = TokenCount(answer["input_tokens"], answer["output_tokens"])
    return price.standard.cost_usd({InferenceMode.ON_DEMAND: tokens}) if price else None
