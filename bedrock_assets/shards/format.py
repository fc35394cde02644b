"""The second stage: one shard's rows become the JSONL file that Bedrock reads."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import polars as pl

from bedrock_assets.errors import DataError, StaleShard, StoreConflict, TooFewRecords
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_CODE, ERROR_MESSAGE, KEY, LINE
from bedrock_assets.shards.answer_cache import PromptIndex, answers_key
from bedrock_assets.shards.dedup import DedupedRows, sent_keys
from bedrock_assets.shards.record_file import RecordFile, encoded, padded
from bedrock_assets.storage.keys import shard_folder, shard_manifest_key
from bedrock_assets.storage.manifests import RawManifest, Shard, ShardManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

CHUNK_ROWS = 16_384


def format_shard(
    pipeline: Pipeline, store: Store, raw: RawManifest, shard: Shard, known: PromptIndex | None = None, fresh: str = ""
) -> ShardManifest:
    """
    Write one shard's records, the fate of each of its rows, and its manifest, last.

    A shard whose rows say what they said before stays as it is, so that its job in flight or its answers stay valid.

    Args:
        known: Where answers are, or will be: such rows are not sent. What this shard sends is added to it.
        fresh: Anything new: the shard becomes another one than before, even if it says the same.

    Raises:
        TooFewRecords: The shard has fewer records than Bedrock's minimum, and `on_small` is `error`.
        StaleShard: The records are too many bytes for one file; the prompt has grown since the shards were planned.
        StoreConflict: Another run has published the shard since this one began on it; that one's stays.
    """
    known, name = PromptIndex() if known is None else known, pipeline.spec.name
    key = shard_manifest_key(name, shard.key)
    version = store.version(key)
    incoming = f"{shard_folder(name, shard.key)}/incoming-{secrets.token_hex(4)}"
    content, records, n_rest = _write(pipeline, store, raw, shard, known, incoming)
    fates = content.fates()
    made = _manifest(pipeline, raw, shard, content, fates, records, fresh)
    manifest = None if fresh else _unchanged(store, made)
    if manifest:
        store.delete([f"{incoming}.jsonl", *([f"{incoming}.rest.jsonl"] if n_rest else [])])
    else:
        manifest = made.model_copy(update={"blocked_by": known.pending(fates["elsewhere"])})
        _publish(pipeline, store, manifest, fates, incoming, n_rest)
    try:
        store.replace_model(key, manifest, version)
    except StoreConflict as error:
        raise StoreConflict(
            f"shard {shard.key} of {name} was formatted by another run while this one was at work on it, and stays as "
            f"that one left it; materialize {name}/prompt_shards again, if that one is not of the present dataset"
        ) from error
    if pipeline.spec.reuse_answers_days:
        known.add(sent_keys(fates), answers_key(name, shard.key, manifest.fingerprint), shard.key)
    return manifest


def shard_rows(store: Store, raw: RawManifest, shard: Shard) -> pl.LazyFrame:
    """The rows of one shard, in order: the input's columns and the record id."""
    end, position, keys, skip = shard.offset + shard.n_rows, 0, [], 0
    for part in raw.parts:
        if position < end and position + part.n_rows > shard.offset:
            skip = shard.offset - position if not keys else skip
            keys.append(part.key)
        position += part.n_rows
    return store.scan_parquet(keys).slice(skip, shard.n_rows)


def current_shard(store: Store, pipeline: str, key: str) -> ShardManifest:
    """
    The manifest of a formatted shard.

    Raises:
        StaleShard: The shard has not been formatted.
    """
    manifest = store.read_model(shard_manifest_key(pipeline, key), ShardManifest)
    if manifest is None:
        raise StaleShard(f"shard {key} of {pipeline} has no prompts yet; materialize {pipeline}/prompt_shards first")
    return manifest


def fingerprint_of(sha256: str, content: str, model: str, model_invocation_type: str, fresh: str) -> str:
    """Identity of what is asked: the records sent, what all rows say, the model, and the way it is invoked."""
    identity = json.dumps([sha256, content, model, model_invocation_type, fresh])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def made_records(pipeline: Pipeline, batches: Iterable[pl.DataFrame]) -> Iterator[tuple[memoryview, pl.DataFrame]]:
    """For each batch of rows, the bytes of its records, and record id, ERROR_CODE and ERROR_MESSAGE of each row."""

    def make(rows: pl.DataFrame) -> tuple[memoryview, pl.DataFrame]:
        made = pipeline.with_records(rows)
        return encoded(made[LINE].drop_nulls()), made.select(pipeline.record_id, ERROR_CODE, ERROR_MESSAGE)

    return map_ordered(make, batches)


def shard_batches(store: Store, raw: RawManifest, shard: Shard) -> Iterator[pl.DataFrame]:
    """The rows of one shard in order, some thousands at a time."""
    for start in range(0, shard.n_rows, CHUNK_ROWS):
        n_rows = min(CHUNK_ROWS, shard.n_rows - start)
        piece = Shard(key=shard.key, offset=shard.offset + start, n_rows=n_rows)
        yield shard_rows(store, raw, piece).collect()


def _write(
    pipeline: Pipeline, store: Store, raw: RawManifest, shard: Shard, known: PromptIndex, incoming: str
) -> tuple[DedupedRows, RecordFile, int]:
    """The records to send, and in a second file, if there are any, those that are answered elsewhere: how many."""
    content, rest = DedupedRows(known), None
    with ExitStack() as files:
        records = RecordFile(files.enter_context(store.writer(f"{incoming}.jsonl")))
        for lines, whole, fates in _keyed_records(pipeline, shard_batches(store, raw, shard)):
            send, elsewhere = content.partition_rows(fates)
            if send.sum() == lines.count():
                records.append(whole, lines.count())
                continue
            records.write(lines.filter(send))
            if elsewhere.any():
                rest = rest or RecordFile(files.enter_context(store.writer(f"{incoming}.rest.jsonl")), digest=None)
                rest.write(lines.filter(elsewhere))
        _pad(records, pipeline, lambda: shard_batches(store, raw, shard))
    return content, records, rest.n_records if rest else 0


def _keyed_records(
    pipeline: Pipeline, batches: Iterable[pl.DataFrame]
) -> Iterator[tuple[pl.Series, memoryview, pl.DataFrame]]:
    """For each batch of rows their records, one a row; the bytes of all; record_id, code, message and key."""

    def make(rows: pl.DataFrame) -> tuple[pl.Series, memoryview, pl.DataFrame]:
        made = pipeline.with_records(rows, keyed=True)
        fates = made.select(record_id=pipeline.record_id, code=ERROR_CODE, message=ERROR_MESSAGE, key=KEY)
        return made[LINE], encoded(made[LINE].drop_nulls()), fates

    return map_ordered(make, batches)


def _pad(records: RecordFile, pipeline: Pipeline, again: Callable[[], Iterator[pl.DataFrame]]) -> None:
    """Repeat records from the first on up to Bedrock's minimum; where none is to be sent there is no job."""
    n_own, minimum = records.n_records, pipeline.spec.limits.min_records_per_job
    if pipeline.spec.on_small != "pad" or n_own == 0:
        return
    while records.n_records < minimum:
        for rows in again():
            lines = pipeline.with_records(rows)[LINE].drop_nulls().head(minimum - records.n_records)
            if len(lines):
                records.write(padded(lines, records.n_records))
    records.n_padding = records.n_records - n_own


def _require_fit(pipeline: Pipeline, manifest: ShardManifest) -> None:
    limits, name, shard = pipeline.spec.limits, pipeline.spec.name, manifest.shard.key
    if 0 < manifest.n_records < limits.min_records_per_job and pipeline.spec.on_small == "error":
        raise TooFewRecords(
            f"shard {shard} has {manifest.n_records} records, but Bedrock fails a job with fewer than "
            f"{limits.min_records_per_job}; materialize {name}/raw_dataset to plan again, or set `on_small: on_demand`"
        )
    if manifest.n_bytes > limits.max_bytes_per_file:
        raise StaleShard(
            f"shard {shard} has {manifest.n_bytes} bytes, above limits.max_bytes_per_file="
            f"{limits.max_bytes_per_file}: the prompt has grown since the shards were planned; "
            f"materialize {name}/raw_dataset to plan again"
        )


def _unchanged(store: Store, made: ShardManifest) -> ShardManifest | None:
    """The shard as it was formatted before, if it says the same and its files are there."""
    former = store.read_model(shard_manifest_key(made.pipeline, made.shard.key), ShardManifest)
    if former is None or former.content != made.content or not all(map(store.exists, (former.prompts, former.rows))):
        return None
    return former.model_copy(update={"shard": made.shard, "raw_revision": made.raw_revision})


def _publish(
    pipeline: Pipeline, store: Store, manifest: ShardManifest, fates: pl.DataFrame, incoming: str, n_rest: int
) -> None:
    files = {f"{incoming}.jsonl": manifest.prompts} | ({f"{incoming}.rest.jsonl": manifest.rest} if n_rest else {})
    try:
        _require_fit(pipeline, manifest)
    except DataError:
        store.delete(list(files))
        raise
    for made, final in files.items():
        store.move(made, final)
    with store.writer(manifest.rows) as file:
        fates.write_parquet(file)


def _manifest(
    pipeline: Pipeline,
    raw: RawManifest,
    shard: Shard,
    content: DedupedRows,
    fates: pl.DataFrame,
    records: RecordFile,
    fresh: str,
) -> ShardManifest:
    spec, sha256 = pipeline.spec, records.digest.hexdigest() if records.digest else ""
    fingerprint = fingerprint_of(sha256, content.identity, spec.model_identity, spec.model_invocation_type, fresh)
    stem = f"{shard_folder(spec.name, shard.key)}/{fingerprint}"
    return ShardManifest(
        pipeline=spec.name,
        shard=shard,
        raw_revision=raw.revision,
        fingerprint=fingerprint,
        content=content.identity,
        prompts=f"{stem}.jsonl",
        rest=f"{stem}.rest.jsonl",
        rows=f"{stem}.rows.parquet",
        n_records=records.n_records,
        n_rejected=fates["code"].count(),
        n_padding=records.n_padding,
        n_reused=fates["elsewhere"].count(),
        n_duplicates=fates["copy_of"].count(),
        n_bytes=records.n_bytes,
        sha256=sha256,
        model=spec.model,
        model_invocation_type=spec.model_invocation_type,
        parameters=pipeline.parameters,
        prompt_id=pipeline.prompt.name if pipeline.prompt else None,
        prompt_sha256=pipeline.prompt.sha256 if pipeline.prompt else None,
    )
