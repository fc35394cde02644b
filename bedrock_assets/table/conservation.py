"""Proves that no row was lost or duplicated, by comparing the table's or a shard's files with the dataset's."""

from collections import Counter
from collections.abc import Callable

import polars as pl

from bedrock_assets.columns import column, columns
from bedrock_assets.outputs.published import renamed
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import RawManifest, Shard, TableManifest
from bedrock_assets.storage.store import Store

Facts = dict[str, int]
Rename = Callable[[pl.LazyFrame], pl.LazyFrame]


def conservation_facts(store: Store, pipeline: Pipeline, raw: RawManifest, manifest: TableManifest) -> Facts:
    """
    Compare the table's files with the dataset's, one part at a time.

    Returns:
        n_rows_in, n_rows_out, n_lost (rows of the dataset that are not in their part), n_without_status.
    """
    total = Counter(n_rows_out=sum(part.n_rows for part in manifest.parts[len(raw.shards) :]))
    for shard, part in zip(raw.shards, manifest.parts, strict=False):
        total.update(_compare(store, pipeline, raw, shard, part.key))
    return {"n_rows_in": raw.n_rows, **{name: total[name] for name in ("n_rows_out", "n_lost", "n_without_status")}}


def shard_facts(store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard) -> Facts:
    """As `conservation_facts`, for the answers of one shard."""
    key = outputs_key(pipeline.spec.name, shard.key)
    if not store.exists(key):
        return {"n_rows_in": shard.n_rows, "n_rows_out": 0, "n_lost": shard.n_rows, "n_without_status": 0}
    return _compare(store, pipeline, raw, shard, key, lambda rows: renamed(rows, pipeline.spec.output_prefix))


def conserved(facts: Facts) -> bool:
    """Whether every row is there once and has a status."""
    return facts["n_rows_in"] == facts["n_rows_out"] and not facts["n_lost"] and not facts["n_without_status"]


def _compare(
    store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard, key: str, rename: Rename = lambda rows: rows
) -> Facts:
    record_id, status = pipeline.record_id, pipeline.answer_columns["status"]
    ids = shard_rows(store, raw, shard, record_id, lambda rows: rows.select(record_id))
    rows = store.read_parquet(key, lambda rows: rename(rows).select(columns([record_id, status])))
    known = column(status).is_in(["ok", "error", "missing"]).fill_null(value=False)
    return {
        "n_rows_in": len(ids),
        "n_rows_out": len(rows),
        "n_lost": len(ids.join(rows, on=record_id, how="anti")),
        "n_without_status": len(rows.filter(~known)),
    }
