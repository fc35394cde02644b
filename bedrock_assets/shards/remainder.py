"""Writes the records of a shard that are sent again, because earlier attempts left them unanswered."""

import io
from itertools import chain

import polars as pl

from bedrock_assets.pipeline.ids import PADDING_ID, wire_id
from bedrock_assets.pipeline.records import LINE
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.format import shard_batches
from bedrock_assets.shards.record_file import RecordFile, padded
from bedrock_assets.storage.keys import attempt_input_key, raw_manifest_key
from bedrock_assets.storage.manifests import RawManifest, ShardManifest
from bedrock_assets.storage.store import Store

ID_OF_LINE = r'^\{"recordId":"([^"]*)"'
"""The record id, with which each of our own records begins."""


def write_remainder(
    store: Store,
    pipeline: Workload,
    shard: ShardManifest,
    attempt: int,
    unanswered: pl.Series,
    repaired: pl.DataFrame | None = None,
) -> tuple[str, int]:
    """
    Write the records to send again; with `on_small: pad`, at least Bedrock's minimum.

    Args:
        attempt: Number of the new attempt, at least 2.
        unanswered: Record ids, String, at least one.
        repaired: Records that replace those with the same id: `line` and `id`, both String.

    Returns:
        Key of the file, and its number of records.
    """
    spec = pipeline.spec
    key = attempt_input_key(spec.name, shard.shard.key, shard.fingerprint, attempt)
    wanted = unanswered.to_frame("record_id").select(id=wire_id(pl.col("record_id")))
    if repaired is not None:
        wanted = wanted.join(repaired, on="id", how="anti")
    minimum = spec.limits.min_records_per_job if spec.on_small == "pad" else 0
    padding: list[pl.DataFrame] = []
    with store.writer(key) as file:
        records = RecordFile(file, digest=None)
        for chunk in chain.from_iterable(map(store.chunks, [shard.prompts, *([shard.rest] if shard.n_reused else [])])):
            lines = record_lines(chunk).filter(~pl.col("id").str.contains(PADDING_ID))
            records.write(lines.join(wanted, on="id", how="semi", maintain_order="left")["line"])
            padding.append(lines.head(minimum))
        if repaired is not None:
            records.write(repaired["line"])
        while records.n_records < minimum:
            copies = pl.concat(padding)["line"].head(minimum - records.n_records)
            records.write(padded(copies, records.n_records))
    return key, records.n_records


def repaired_lines(store: Store, pipeline: Workload, shard: ShardManifest, broken: pl.DataFrame) -> pl.DataFrame | None:
    """
    Make new records for rows whose answer broke the schema, with the violation in the prompt.

    Args:
        broken: record_id and error_message, both String.

    Returns:
        `line` and `id`, both String. None if no record is repaired: there are no such rows, `repair` is 0, or the
        dataset has changed since the shard was formatted. The rows are then sent unchanged.
    """
    if pipeline.records is None or not pipeline.n_repairs or broken.is_empty():
        return None
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    if raw is None or raw.revision != shard.raw_revision:
        return None
    records: list[pl.DataFrame] = []
    for rows in shard_batches(store, raw, shard.shard, pipeline.record_id):
        ids = rows.select(record_id=pipeline.record_id)
        messages = ids.join(broken, on="record_id", how="left", maintain_order="left")["error_message"]
        lines = pipeline.records.make(rows.filter(messages.is_not_null()), messages.drop_nulls())[LINE].drop_nulls()
        records.append(_with_ids(lines.to_frame("line")))
    return pl.concat(records)


def record_lines(chunk: bytes) -> pl.DataFrame:
    """Split our own JSONL records: `line` and `id`, both String."""
    # JSON has no raw control characters, so \x01 never separates columns.
    return _with_ids(
        pl.read_csv(io.BytesIO(chunk), has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
    )


def _with_ids(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.with_columns(id=pl.col("line").str.extract(ID_OF_LINE))
