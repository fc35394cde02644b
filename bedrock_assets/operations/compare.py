"""Hold the answers of two pipelines against each other, row by row: two prompts, or two models."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.outputs.agreement import Agreement, agreement_of, count_pairs, differing
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.prices import price_of, total_of
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store

ID, FIRST, SECOND, STATUS = "record_id", "first", "second", "status"


@dataclass(frozen=True)
class Side:
    """One pipeline's table."""

    name: str
    answer: str
    """The answer column that is compared."""
    n_rows: int
    n_ok: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    """US dollars; None if a price or tokens are unknown."""


@dataclass(frozen=True)
class Comparison:
    """What two tables say of the same rows."""

    first: Side
    second: Side
    n_both: int
    """Rows that are in both tables, by record id."""
    agreement: Agreement
    """Of the rows that both have answered; the first one's answers stand for the known ones."""
    disagreements: pl.DataFrame
    """`record_id`, `first`, `second`: the first rows whose answers differ."""


def compare_tables(
    store: Store,
    first: Pipeline,
    second: Pipeline,
    *,
    answer: str | None = None,
    match: Literal["exact", "normalized"] = "exact",
    n_disagreements: int = 10,
) -> Comparison:
    """
    Compare two tables; both are streamed, three columns of each.

    Args:
        answer: Answer column of both; by default `label`, the only field of `schema`, or `response`.
        match: As of `gold`.

    Raises:
        ConfigError: A table is not there, has no such column, or the two have no row in common.
    """
    tables = [Publication.latest(store, pipeline.spec.name) for pipeline in (first, second)]
    answers = [pipeline.answer_named(answer) for pipeline in (first, second)]
    left, right = _known(first, tables[0], answers[0]), _given(second, tables[1], answers[1])
    n_both = left.select(ID).join(right.select(ID), on=ID).select(pl.len()).collect(engine="streaming").item()
    if not n_both:
        raise ConfigError(
            f"{first.spec.name} and {second.spec.name} have no record id in common; both need the same rows and the "
            "same `id_column`"
        )
    gold, both = GoldSpec(column=FIRST, match=match), left.join(right, on=ID, maintain_order="left")
    other = differing(both, gold, SECOND, STATUS, blank_is_known=True).select(ID, FIRST, SECOND).head(n_disagreements)
    return Comparison(
        _side(first, tables[0], answers[0]),
        _side(second, tables[1], answers[1]),
        n_both,
        agreement_of(count_pairs(both, gold, SECOND, STATUS, blank_is_known=True).collect(engine="streaming")),
        other.collect(engine="streaming"),
    )


def _known(pipeline: Pipeline, table: Publication, answer: str) -> pl.LazyFrame:
    """The first one's rows: an answer that is none is nothing that the other could be held against."""
    answered = pl.when(column(pipeline.answer_columns["status"]) == "ok").then(column(answer))
    return table.scan().select(column(pipeline.record_id).alias(ID), answered.alias(FIRST))


def _given(pipeline: Pipeline, table: Publication, answer: str) -> pl.LazyFrame:
    status = column(pipeline.answer_columns["status"]).alias(STATUS)
    return table.scan().select(column(pipeline.record_id).alias(ID), column(answer).alias(SECOND), status)


def _side(pipeline: Pipeline, table: Publication, answer: str) -> Side:
    manifest, price = table.manifest, price_of(pipeline.spec)
    total = total_of(manifest.tokens)
    cost_usd = price.cost_usd(manifest.tokens) if price else None
    counts = (manifest.n_rows, manifest.n_ok, total.n_input, total.n_output)
    return Side(pipeline.spec.name, answer, *counts, cost_usd)
