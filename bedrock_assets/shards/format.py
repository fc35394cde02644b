"""Write the rows of one shard as the JSONL file that Bedrock reads."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import polars as pl

from bedrock_assets.errors import DataError, StaleShard, StoreConflict, TooFewRecords, panics_are_errors
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_CODE, ERROR_MESSAGE, KEY, LINE, REDACTED
from bedrock_assets.shards.answer_cache import PromptIndex, answers_key
from bedrock_assets.shards.dedup import DedupedRows, sent_keys
from bedrock_assets.shards.record_file import RecordFile, encoded, padded
from bedrock_assets.storage.keys import shard_folder, shard_manifest_key
from bedrock_assets.storage.manifests import RawManifest, Shard, ShardManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

CHUNK_ROWS = 16_384


@panics_are_errors("records cannot be made")
def format_shard(
    pipeline: Pipeline, store: Store, raw: RawManifest, shard: Shard, known: PromptIndex | None = None, fresh: str = ""
) -> ShardManifest:
    """
    Write one shard's records, what happens to each of its rows, and then its manifest.

    A shard whose prompts have not changed stays as it is, so that its job in flight and its answers stay valid.

    Args:
        known: Answers that exist or are on their way: rows with these prompts are not sent. The prompts that this
            shard sends are added.
        fresh: If not empty, a value that was never used before: the shard is formatted anew even if nothing changed.

    Raises:
        TooFewRecords: The shard has fewer records than Bedrock's minimum, and `on_small` is `error`.
        StaleShard: The records are too large for one file, because the prompt has grown since the shards were planned.
        StoreConflict: Another run published the shard while this one was working. That version stays.
    """
    known, name = PromptIndex() if known is None else known, pipeline.spec.name
    key = shard_manifest_key(name, shard.key)
    version = store.version(key)
    old = None if fresh else store.read_intact(key, ShardManifest)
    is_whole = old is not None and _is_whole(store, old)
    incoming = f"{shard_folder(name, shard.key)}/incoming-{secrets.token_hex(4)}"
    # Broken files are written as they were, if their records are known: a job in flight and its answers stay valid.
    reusable = PromptIndex() if old and not is_whole and not old.n_reused else known
    content, records, n_rest = _write(pipeline, store, raw, shard, reusable, incoming)
    rows = content.rows()
    new = _manifest(pipeline, raw, shard, content, rows, records, fresh)
    manifest = _unchanged(old, new) if old and is_whole else None
    if old and not is_whole and old.sha256 == new.sha256:
        new = _unchanged(old, new) or new
    if manifest:
        store.delete([f"{incoming}.jsonl", *([f"{incoming}.rest.jsonl"] if n_rest else [])])
    else:
        manifest = new.model_copy(update={"blocked_by": known.pending(rows["elsewhere"])})
        _publish(pipeline, store, manifest, rows, incoming, n_rest)
    try:
        store.replace_model(key, manifest, version)
    except StoreConflict as error:
        raise StoreConflict(
            f"another run formatted shard {shard.key} of {name} while this run was working, and its version stays; "
            f"materialize {name}/prompt_shards again if that version is not of the current dataset"
        ) from error
    if pipeline.spec.reuse_answers_days:
        known.add(sent_keys(rows), answers_key(name, shard.key, manifest.fingerprint), shard.key)
    return manifest


def shard_rows(
    store: Store,
    raw: RawManifest,
    shard: Shard,
    record_id: str,
    query: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda rows: rows,
) -> pl.DataFrame:
    """
    The rows of one shard in order: the input's columns and the record id.

    Args:
        record_id: What the record id is to be called: the pipeline's `output_prefix` may have changed since the ingest.
        query: What to read of them; by default everything.

    Raises:
        BrokenFile: A part of the dataset is cut or damaged.
        StaleShard: The dataset has a column of that name.
    """
    if record_id in raw.columns:
        raise StaleShard(
            f"the dataset has a column {record_id!r}, as the record id is called; set another output_prefix"
        )
    end, position, keys, skip = shard.offset + shard.n_rows, 0, [], 0
    for part in raw.parts:
        if position < end and position + part.n_rows > shard.offset:
            skip = shard.offset - position if not keys else skip
            keys.append(part.key)
        position += part.n_rows
    names = {raw.record_id: record_id}
    return store.read_parquet(keys, lambda rows: query(rows.rename(names).slice(skip, shard.n_rows)))


def current_shard(store: Store, pipeline: str, key: str) -> ShardManifest:
    """
    Read the manifest of a formatted shard.

    Raises:
        StaleShard: The shard has not been formatted.
    """
    manifest = store.read_model(shard_manifest_key(pipeline, key), ShardManifest)
    if manifest is None:
        raise StaleShard(f"shard {key} of {pipeline} has no prompts yet; materialize {pipeline}/prompt_shards first")
    return manifest


def fingerprint_of(sha256: str, content: str, model: str, model_invocation_type: str, fresh: str) -> str:
    """Hash, 16 hex digits, of the records, of all rows' prompts, of the model and of how it is invoked."""
    identity = json.dumps([sha256, content, model, model_invocation_type, fresh])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def encode_batches(
    pipeline: Pipeline, batches: Iterable[pl.DataFrame], *, keyed: bool = False
) -> Iterator[tuple[memoryview, pl.DataFrame]]:
    """
    Make the records of each batch of rows, several batches at once.

    Yields:
        The bytes of the batch's JSONL, and for each row: record id, ERROR_CODE, ERROR_MESSAGE, LINE (its record), and
        KEY if *keyed*; all String. Then REDACTED, if columns are redacted.
    """
    more = [KEY, *([REDACTED] if pipeline.records.redactor else [])] if keyed else []
    columns = [pipeline.record_id, ERROR_CODE, ERROR_MESSAGE, LINE, *more]

    def encode(rows: pl.DataFrame) -> tuple[memoryview, pl.DataFrame]:
        records = pipeline.records.make(rows, keyed=keyed)
        return encoded(records[LINE].drop_nulls()), records.select(columns)

    return map_ordered(encode, batches)


def shard_batches(store: Store, raw: RawManifest, shard: Shard, record_id: str) -> Iterator[pl.DataFrame]:
    """As `shard_rows`, `CHUNK_ROWS` at a time."""
    for start in range(0, shard.n_rows, CHUNK_ROWS):
        n_rows = min(CHUNK_ROWS, shard.n_rows - start)
        part = Shard(key=shard.key, offset=shard.offset + start, n_rows=n_rows)
        yield shard_rows(store, raw, part, record_id)


def _write(
    pipeline: Pipeline, store: Store, raw: RawManifest, shard: Shard, known: PromptIndex, incoming: str
) -> tuple[DedupedRows, RecordFile, int]:
    """
    Write the records to send, and to a second file those that have an answer elsewhere.

    Returns:
        The rows, the file of records, and the number of records in the second file.
    """
    content, rest = DedupedRows(known), None
    with ExitStack() as files:
        records = RecordFile(files.enter_context(store.writer(f"{incoming}.jsonl")))
        for jsonl, batch in encode_batches(pipeline, shard_batches(store, raw, shard, pipeline.record_id), keyed=True):
            lines = batch[LINE]
            if REDACTED in batch.columns:
                records.n_redacted.update(batch[REDACTED].struct.unnest().sum().row(0, named=True))
            rows = batch.select(record_id=pipeline.record_id, code=ERROR_CODE, message=ERROR_MESSAGE, key=KEY)
            send, elsewhere = content.partition_rows(rows)
            if send.sum() == lines.count():
                records.append(jsonl, lines.count())
                continue
            records.write(lines.filter(send))
            if elsewhere.any():
                rest = rest or RecordFile(files.enter_context(store.writer(f"{incoming}.rest.jsonl")), digest=None)
                rest.write(lines.filter(elsewhere))
        _pad(records, pipeline, lambda: shard_batches(store, raw, shard, pipeline.record_id))
    return content, records, rest.n_records if rest else 0


def _pad(records: RecordFile, pipeline: Pipeline, read_again: Callable[[], Iterator[pl.DataFrame]]) -> None:
    """Repeat records, from the first on, up to Bedrock's minimum; a shard without records gets none."""
    n_own, minimum = records.n_records, pipeline.spec.limits.min_records_per_job
    if pipeline.spec.on_small != "pad" or n_own == 0:
        return
    while records.n_records < minimum:
        for rows in read_again():
            lines = pipeline.records.make(rows)[LINE].drop_nulls().head(minimum - records.n_records)
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


def _is_whole(store: Store, manifest: ShardManifest) -> bool:
    """Whether a shard's files are there, and not cut."""
    return store.is_lines(manifest.prompts, manifest.n_bytes) and store.is_parquet(manifest.rows)


def _unchanged(old: ShardManifest, new: ShardManifest) -> ShardManifest | None:
    """The previous manifest, brought up to date, if its prompts are the same."""
    if old.content != new.content:
        return None
    current = {name: getattr(new, name) for name in ("shard", "raw_revision", "configuration", "n_redacted")}
    return old.model_copy(update=current)


def _publish(
    pipeline: Pipeline, store: Store, manifest: ShardManifest, rows: pl.DataFrame, incoming: str, n_rest: int
) -> None:
    files = {f"{incoming}.jsonl": manifest.prompts} | ({f"{incoming}.rest.jsonl": manifest.rest} if n_rest else {})
    try:
        _require_fit(pipeline, manifest)
    except DataError:
        store.delete(list(files))
        raise
    for source, destination in files.items():
        store.move(source, destination)
    with store.writer(manifest.rows) as file:
        rows.write_parquet(file)


def _manifest(
    pipeline: Pipeline,
    raw: RawManifest,
    shard: Shard,
    content: DedupedRows,
    rows: pl.DataFrame,
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
        n_rejected=rows["code"].count(),
        n_padding=records.n_padding,
        n_reused=rows["elsewhere"].count(),
        n_duplicates=rows["copy_of"].count(),
        n_redacted=records.n_redacted,
        n_bytes=records.n_bytes,
        sha256=sha256,
        model=spec.model,
        model_invocation_type=spec.model_invocation_type,
        parameters=pipeline.records.parameters,
        configuration=pipeline.workload.configuration,
        prompt_id=pipeline.records.prompt.name if pipeline.records.prompt else None,
        prompt_sha256=pipeline.records.prompt.sha256 if pipeline.records.prompt else None,
    )
