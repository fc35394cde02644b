"""What the page tells: counts, cost, errors, distributions, and rows to read, from the store alone."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.outputs.agreement import Agreement, agreement_of, count_pairs
from bedrock_assets.outputs.error_groups import group_errors
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.prices import NO_PRICE, Estimator, Measured, price_of, total_of
from bedrock_assets.report.distributions import Distribution, distributions
from bedrock_assets.report.rows import Row, random_rows
from bedrock_assets.report.vectors import VectorMap, vector_map
from bedrock_assets.storage.keys import raw_manifest_key
from bedrock_assets.storage.manifests import InferenceMode, RawManifest, TableManifest, TokenCount
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store

MAX_ERRORS = 12
MAX_COLUMNS = 8
"""Columns of the input that a row shows."""


@dataclass(frozen=True)
class Cost:
    """What was expected before anything was sent, and what was paid."""

    n_prompts: int
    estimated: TokenCount
    """An upper bound: bytes of the prompts, and as many tokens for each answer as it may have."""
    estimated_usd: float | None
    paid: TokenCount
    paid_usd: float | None
    price_source: str


@dataclass(frozen=True)
class ErrorGroup:
    """Rows that failed for the same reason."""

    code: str
    n_rows: int
    record_id: str
    """Of an example."""
    message: str


@dataclass(frozen=True)
class Report:
    """Everything that the page shows."""

    pipeline: Pipeline
    table: TableManifest
    uri: str
    made_at: datetime
    cost: Cost
    errors: list[ErrorGroup]
    distributions: list[Distribution]
    map: VectorMap | None
    agreement: Agreement | None
    rows: list[Row]
    prompt: str | None
    system: str | None
    settings: str
    """Parameters and schema, as JSON."""


def report_of(store: Store, pipeline: Pipeline, table: Publication) -> Report:
    """
    Read what the page tells. Columns of answers are read some times each, one after the other, of embeddings a sample;
    memory holds a few shards.

    The same table gives the same sample.

    Raises:
        ConfigError: The table was made with other settings, and has not the columns that these give it.
        StoreConflict: The table was replaced while it was read.
    """
    _require_columns(pipeline, table.manifest)
    names, manifest, records = pipeline.answer_columns, table.manifest, pipeline.records
    random = Random(manifest.revision)  # noqa: S311 - a sample, not a secret
    answers = [*pipeline.schema.fields] if pipeline.schema else ["response" if "response" in names else "embedding"]
    there = {names[name]: name for name in answers if names[name] in manifest.columns}
    answered = table.scan().filter(column(names["status"]).cast(pl.String) == "ok")
    shown = _input_columns(pipeline, manifest)
    vector = None if "response" in names else vector_map(table, names["embedding"], shown, random, pipeline.spec.redact)
    return Report(
        pipeline,
        manifest,
        store.path(f"{pipeline.spec.name}/table"),
        datetime.now(UTC),
        _cost(store, pipeline, manifest),
        _errors(table, pipeline),
        distributions(answered, there),
        vector,
        _agreement(table, pipeline),
        random_rows(table, pipeline, shown, there, random),
        records.prompt.text if records.prompt else None,
        records.system.text if records.system else None,
        json.dumps(records.parameters, indent=2, ensure_ascii=False, default=str),
    )


def _require_columns(pipeline: Pipeline, manifest: TableManifest) -> None:
    missing = [name for name in (pipeline.record_id, *pipeline.answer_columns.values()) if name not in manifest.columns]
    if missing:
        raise ConfigError(
            f"{pipeline.spec.name}/joined_table has no column {missing[0]!r}: it was made with other settings "
            "than those of the YAML; materialize it again, or take the change back"
        )


def _input_columns(pipeline: Pipeline, manifest: TableManifest) -> list[str]:
    """Columns of the input, those of the prompt first."""
    ours = {pipeline.record_id, *pipeline.answer_columns.values()}
    wanted = dict.fromkeys([*pipeline.records.columns, *manifest.columns])
    return [name for name in wanted if name in manifest.columns and name not in ours][:MAX_COLUMNS]


def _cost(store: Store, pipeline: Pipeline, manifest: TableManifest) -> Cost:
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    n_prompts, n_bytes = (raw.n_sendable, raw.prompt_bytes) if raw else (0, 0)
    max_tokens = int(pipeline.records.parameters.get("max_tokens") or 0)
    estimate = Estimator(Measured(), max_tokens).tokens(n_prompts, n_bytes, InferenceMode.BATCH)
    price = price_of(pipeline.spec)
    return Cost(
        n_prompts,
        total_of(estimate),
        price.most_usd(estimate) if price else None,
        total_of(manifest.tokens),
        price.cost_usd(manifest.tokens) if price else None,
        price.source if price else NO_PRICE,
    )


def _errors(table: Publication, pipeline: Pipeline) -> list[ErrorGroup]:
    """The most frequent failures, part by part, as failed rows may be many."""
    own = {name: column(pipeline.answer_columns[name]).cast(pl.String) for name in ("error_code", "error_message")}
    is_failed = column(pipeline.answer_columns["status"]).cast(pl.String) != "ok"

    def failed(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.filter(is_failed).select(record_id=column(pipeline.record_id), **own)

    groups = pl.concat(group_errors(table.read(part, failed)) for part in table.manifest.parts)
    merged = groups.group_by("error_code", "pattern", maintain_order=True).agg(
        pl.col("n_rows").sum(), pl.col("example").first(), pl.col("error_message").first()
    )
    frequent = merged.sort("n_rows", descending=True, maintain_order=True).head(MAX_ERRORS)
    shown = frequent.select("error_code", "n_rows", "example", "error_message").fill_null("")
    return [ErrorGroup(*row) for row in shown.iter_rows()]


def _agreement(table: Publication, pipeline: Pipeline) -> Agreement | None:
    gold: GoldSpec | None = pipeline.gold
    if gold is None or gold.column not in table.manifest.columns or gold.answer not in table.manifest.columns:
        return None
    pairs = count_pairs(table.scan(), gold, gold.answer, pipeline.answer_columns["status"])
    return agreement_of(pairs.collect(engine="streaming"))
