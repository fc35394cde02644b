"""What a shard's attempts left unanswered becomes the next attempt, in the lane that fits its size."""

import dataclasses
import io
from itertools import chain

import polars as pl

from bedrock_assets.campaign import Lane, Request
from bedrock_assets.ids import PADDING_ID, wire_id
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.record_file import RecordFile, padded
from bedrock_assets.records import ShardManifest, attempt_input_key
from bedrock_assets.store import Store


def lane_for(pipeline: Pipeline, n_records: int) -> Lane | None:
    """The lane for so many records; None where they are too few for a job and `on_small` is `error`."""
    if n_records == 0:
        return Lane.ON_DEMAND  # nothing is asked, as all is answered elsewhere
    if n_records >= pipeline.spec.limits.min_records_per_job:
        return Lane.BATCH
    by_setting: dict[str, Lane | None] = {"on_demand": Lane.ON_DEMAND, "pad": Lane.BATCH, "error": None}
    return by_setting[pipeline.spec.on_small]


def following(
    pipeline: Pipeline, store: Store, shard: ShardManifest, former: Request, job_arn: str, unanswered: pl.Series
) -> Request | None:
    """
    The request for the next attempt, its records written; None where they are too few to be sent.

    Args:
        job_arn: Of the job of *former*; empty where it was answered on demand.
        unanswered: Record ids to send, String.
    """
    lane = lane_for(pipeline, len(unanswered)) if len(unanswered) else None
    if lane is None:
        return None
    attempt = former.attempt + 1
    prompts, n_records = write_remainder(store, pipeline, shard, attempt, unanswered)
    return dataclasses.replace(
        former,
        attempt=attempt,
        prompts=prompts,
        n_records=n_records,
        lane=lane,
        former_jobs=(*former.former_jobs, job_arn),
    )


def write_remainder(
    store: Store, pipeline: Pipeline, shard: ShardManifest, attempt: int, unanswered: pl.Series
) -> tuple[str, int]:
    """
    Write those of a shard's records that are to be sent again; with `on_small: pad` at least Bedrock's minimum.

    Args:
        attempt: The attempt they are for, 2 or more.
        unanswered: Record ids, String, at least one.

    Returns:
        Key of the file and its number of records.
    """
    spec = pipeline.spec
    key = attempt_input_key(spec.name, shard.shard.key, shard.fingerprint, attempt)
    wanted = unanswered.to_frame("record_id").select(id=wire_id(pl.col("record_id")))
    minimum = spec.limits.min_records_per_job if spec.on_small == "pad" else 0
    spare: list[pl.DataFrame] = []
    with store.writer(key) as file:
        records = RecordFile(file)
        for chunk in chain.from_iterable(map(store.chunks, [shard.prompts, *([shard.rest] if shard.n_reused else [])])):
            lines = record_lines(chunk).filter(~pl.col("id").str.contains(PADDING_ID))
            records.write(lines.join(wanted, on="id", how="semi", maintain_order="left")["line"])
            spare.append(lines.head(minimum))
        while records.n_records < minimum:
            copies = pl.concat(spare)["line"].head(minimum - records.n_records)
            records.write(padded(copies, records.n_records))
    return key, records.n_records


def record_lines(chunk: bytes) -> pl.DataFrame:
    """Our own JSONL records: `line` and `id`, both String. No control character is raw in JSON, so \\x01 separates."""
    lines = pl.read_csv(io.BytesIO(chunk), has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
    return lines.with_columns(id=pl.col("line").str.extract(r'^\{"recordId":"([^"]*)"'))
