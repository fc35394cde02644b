"""The second stage: one shard's rows become the JSONL file that Bedrock reads."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import polars as pl

from bedrock_assets.errors import DataError, StaleShard, TooFewRecords
from bedrock_assets.parallel import ordered
from bedrock_assets.pipeline import ERROR_CODE, ERROR_MESSAGE, LINE, Pipeline
from bedrock_assets.records import Digest, RawManifest, Shard, ShardManifest, shard_folder, shard_manifest_key
from bedrock_assets.store import Store

CHUNK_ROWS = 16_384


@dataclass
class RecordFile:
    """Writes records to a file and keeps count, size and hash in the same pass."""

    file: IO[bytes]
    n_records: int = 0
    n_bytes: int = 0
    digest: Digest | None = field(default_factory=hashlib.sha256)
    """None where nobody asks for the hash, which takes a third as long as making the records."""

    def write(self, lines: pl.Series) -> None:
        """Append one record a line; *lines* are String without nulls."""
        self.append(encoded(lines), len(lines))

    def append(self, content: memoryview, n_records: int) -> None:
        """Append so many whole lines."""
        self.file.write(content)
        if self.digest:
            self.digest.update(content)
        self.n_records += n_records
        self.n_bytes += len(content)


def encoded(lines: pl.Series) -> memoryview:
    """The bytes of *lines*, String without nulls, each ended by a newline, without a loop over them."""
    # Arrow's classic layout holds the strings end to end.
    ended = (lines + "\n").to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, texts = ended.buffers()
    if texts is None:
        return memoryview(b"")
    ends = memoryview(offsets).cast("q")
    return memoryview(texts).cast("B")[ends[ended.offset] : ends[ended.offset + len(ended)]]


def format_shard(pipeline: Pipeline, store: Store, raw: RawManifest, shard: Shard) -> ShardManifest:
    """
    Write one shard's records, the fate of each of its rows, and its manifest, last.

    Raises:
        TooFewRecords: The shard has fewer records than Bedrock's minimum, and `on_small` is `error`, or `pad` and
            there is none to repeat.
        StaleShard: The records are too many bytes for one file; the prompt has grown since the shards were planned.
    """
    folder = shard_folder(pipeline.spec.name, shard.key)
    made = f"{folder}/incoming-{secrets.token_hex(4)}.jsonl"
    kept: list[pl.DataFrame] = []
    with store.writer(made) as file:
        records = RecordFile(file)
        for content, fates in made_records(pipeline, shard_batches(store, raw, shard)):
            records.append(content, fates[ERROR_CODE].null_count())
            kept.append(fates)
        n_padding = _pad(records, pipeline, lambda: shard_batches(store, raw, shard))
    fates = pl.concat(kept).rename({pipeline.record_id: "record_id", ERROR_CODE: "code", ERROR_MESSAGE: "message"})
    try:
        _require_fit(pipeline, shard, records)
    except DataError:
        store.delete([made])
        raise
    manifest = _manifest(pipeline, raw, shard, records, n_padding, fates)
    store.move(made, manifest.prompts)
    with store.writer(manifest.rows) as file:
        fates.write_parquet(file)
    store.write_model(shard_manifest_key(pipeline.spec.name, shard.key), manifest)
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


def fingerprint_of(sha256: str, model: str, model_invocation_type: str) -> str:
    """Identity of what is paid for: the records (which hold all parameters), the model, the way it is invoked."""
    identity = json.dumps([sha256, model, model_invocation_type])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def made_records(pipeline: Pipeline, batches: Iterable[pl.DataFrame]) -> Iterator[tuple[memoryview, pl.DataFrame]]:
    """For each batch of rows, the bytes of its records, and record id, ERROR_CODE and ERROR_MESSAGE of each row."""

    def make(rows: pl.DataFrame) -> tuple[memoryview, pl.DataFrame]:
        made = pipeline.with_records(rows)
        return encoded(made[LINE].drop_nulls()), made.select(pipeline.record_id, ERROR_CODE, ERROR_MESSAGE)

    return ordered(make, batches)


def shard_batches(store: Store, raw: RawManifest, shard: Shard) -> Iterator[pl.DataFrame]:
    """The rows of one shard in order, some thousands at a time."""
    for start in range(0, shard.n_rows, CHUNK_ROWS):
        n_rows = min(CHUNK_ROWS, shard.n_rows - start)
        piece = Shard(key=shard.key, offset=shard.offset + start, n_rows=n_rows)
        yield shard_rows(store, raw, piece).collect()


def padded(lines: pl.Series, first: int) -> pl.Series:
    """Copies of records under padding ids, numbered from *first*."""
    serial = pl.int_range(first, first + pl.len(), dtype=pl.Int64).cast(pl.String).str.zfill(26)
    rest = pl.col(lines.name).str.replace(r'^\{"recordId":"[^"]*', "")
    return lines.to_frame().select(pl.concat_str(pl.lit('{"recordId":"padding'), serial, rest)).to_series()


def _pad(records: RecordFile, pipeline: Pipeline, again: Callable[[], Iterator[pl.DataFrame]]) -> int:
    """Repeat records from the first on up to Bedrock's minimum."""
    n_own, minimum = records.n_records, pipeline.spec.limits.min_records_per_job
    if pipeline.spec.on_small != "pad" or n_own == 0:
        return 0
    while records.n_records < minimum:
        for rows in again():
            lines = pipeline.with_records(rows)[LINE].drop_nulls().head(minimum - records.n_records)
            if len(lines):
                records.write(padded(lines, records.n_records))
    return records.n_records - n_own


def _require_fit(pipeline: Pipeline, shard: Shard, records: RecordFile) -> None:
    limits, name = pipeline.spec.limits, pipeline.spec.name
    if records.n_records < limits.min_records_per_job and pipeline.spec.on_small != "on_demand":
        raise TooFewRecords(
            f"shard {shard.key} has {records.n_records} records, but Bedrock fails a job with fewer than "
            f"{limits.min_records_per_job}; materialize {name}/raw_dataset to plan again, or set `on_small: on_demand`"
        )
    if records.n_bytes > limits.max_bytes_per_file:
        raise StaleShard(
            f"shard {shard.key} has {records.n_bytes} bytes, above limits.max_bytes_per_file="
            f"{limits.max_bytes_per_file}: the prompt has grown since the shards were planned; "
            f"materialize {name}/raw_dataset to plan again"
        )


def _manifest(
    pipeline: Pipeline, raw: RawManifest, shard: Shard, records: RecordFile, n_padding: int, fates: pl.DataFrame
) -> ShardManifest:
    spec, sha256 = pipeline.spec, records.digest.hexdigest() if records.digest else ""
    fingerprint = fingerprint_of(sha256, spec.model, spec.model_invocation_type)
    stem = f"{shard_folder(spec.name, shard.key)}/{fingerprint}"
    return ShardManifest(
        shard=shard,
        raw_revision=raw.revision,
        fingerprint=fingerprint,
        prompts=f"{stem}.jsonl",
        rows=f"{stem}.rows.parquet",
        n_records=records.n_records,
        n_rejected=len(fates) - fates["code"].null_count(),
        n_padding=n_padding,
        n_bytes=records.n_bytes,
        sha256=sha256,
        model=spec.model,
        model_invocation_type=spec.model_invocation_type,
        parameters=pipeline.parameters,
        prompt_id=pipeline.prompt.name if pipeline.prompt else None,
        prompt_sha256=pipeline.prompt.sha256 if pipeline.prompt else None,
    )
