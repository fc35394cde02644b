"""What a shard's attempts left unanswered becomes the next attempt, in the lane that fits its size."""

import dataclasses
import io
from itertools import chain

import polars as pl

from bedrock_assets.campaign import Lane, Request
from bedrock_assets.ids import PADDING_ID, wire_id
from bedrock_assets.pipeline import LINE, Pipeline
from bedrock_assets.record_file import RecordFile, padded
from bedrock_assets.records import RawManifest, ShardManifest, attempt_input_key, raw_manifest_key
from bedrock_assets.shards import shard_batches
from bedrock_assets.store import Store
from bedrock_assets.work import Work

ID_OF_LINE = r'^\{"recordId":"([^"]*)"'
"""The id that one of our own records begins with."""


def lane_for(pipeline: Work, n_records: int) -> Lane | None:
    """The lane for so many records; None where they are too few for a job and `on_small` is `error`."""
    if n_records == 0:
        return Lane.ON_DEMAND  # nothing is asked, as all is answered elsewhere
    if n_records >= pipeline.spec.limits.min_records_per_job:
        return Lane.BATCH
    by_setting: dict[str, Lane | None] = {"on_demand": Lane.ON_DEMAND, "pad": Lane.BATCH, "error": None}
    return by_setting[pipeline.spec.on_small]


def following(
    pipeline: Work,
    store: Store,
    shard: ShardManifest,
    former: Request,
    job_arn: str,
    unanswered: pl.Series,
    broken: pl.DataFrame | None = None,
) -> Request | None:
    """
    The request for the next attempt, its records written; None where they are too few to be sent.

    Args:
        job_arn: Of the job of *former*; empty where it was answered on demand.
        unanswered: Record ids to send, String.
        broken: Those of them whose answer broke the schema and is to be repaired: record_id, error_message.
    """
    lane = lane_for(pipeline, len(unanswered)) if len(unanswered) else None
    if lane is None:
        return None
    attempt = former.attempt + 1
    repaired = None if broken is None else repaired_lines(store, pipeline, shard, broken)
    prompts, n_records = write_remainder(store, pipeline, shard, attempt, unanswered, repaired)
    return dataclasses.replace(
        former,
        attempt=attempt,
        prompts=prompts,
        n_records=n_records,
        lane=lane,
        former_jobs=(*former.former_jobs, job_arn),
        former_targets=former.targets,
        target="",
    )


def write_remainder(
    store: Store,
    pipeline: Work,
    shard: ShardManifest,
    attempt: int,
    unanswered: pl.Series,
    repaired: pl.DataFrame | None = None,
) -> tuple[str, int]:
    """
    Write those of a shard's records that are to be sent again; with `on_small: pad` at least Bedrock's minimum.

    Args:
        attempt: The attempt they are for, 2 or more.
        unanswered: Record ids, String, at least one.
        repaired: Records that take the place of those with the same id: `line` and `id`, both String.

    Returns:
        Key of the file and its number of records.
    """
    spec = pipeline.spec
    key = attempt_input_key(spec.name, shard.shard.key, shard.fingerprint, attempt)
    wanted = unanswered.to_frame("record_id").select(id=wire_id(pl.col("record_id")))
    if repaired is not None:
        wanted = wanted.join(repaired, on="id", how="anti")
    minimum = spec.limits.min_records_per_job if spec.on_small == "pad" else 0
    spare: list[pl.DataFrame] = []
    with store.writer(key) as file:
        records = RecordFile(file, digest=None)
        for chunk in chain.from_iterable(map(store.chunks, [shard.prompts, *([shard.rest] if shard.n_reused else [])])):
            lines = record_lines(chunk).filter(~pl.col("id").str.contains(PADDING_ID))
            records.write(lines.join(wanted, on="id", how="semi", maintain_order="left")["line"])
            spare.append(lines.head(minimum))
        if repaired is not None:
            records.write(repaired["line"])
        while records.n_records < minimum:
            copies = pl.concat(spare)["line"].head(minimum - records.n_records)
            records.write(padded(copies, records.n_records))
    return key, records.n_records


def repaired_lines(store: Store, pipeline: Work, shard: ShardManifest, broken: pl.DataFrame) -> pl.DataFrame | None:
    """
    The records of rows whose answer broke the schema, with what was wrong in their prompt: `line` and `id`.

    None where there are none, where the pipeline repairs nothing, or where the dataset is no longer the one that the
    shard was made of: then they are sent as they were.
    """
    if not isinstance(pipeline, Pipeline) or not pipeline.n_repairs or broken.is_empty():
        return None
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    if raw is None or raw.revision != shard.raw_revision:
        return None
    made: list[pl.DataFrame] = []
    for rows in shard_batches(store, raw, shard.shard):
        ids = rows.select(record_id=pipeline.record_id)
        told = ids.join(broken, on="record_id", how="left", maintain_order="left")["error_message"]
        lines = pipeline.with_records(rows.filter(told.is_not_null()), told.drop_nulls())[LINE].drop_nulls()
        made.append(lines.to_frame("line").with_columns(id=pl.col("line").str.extract(ID_OF_LINE)))
    return pl.concat(made)


def record_lines(chunk: bytes) -> pl.DataFrame:
    """Our own JSONL records: `line` and `id`, both String. No control character is raw in JSON, so \\x01 separates."""
    lines = pl.read_csv(io.BytesIO(chunk), has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
    return lines.with_columns(id=pl.col("line").str.extract(ID_OF_LINE))
