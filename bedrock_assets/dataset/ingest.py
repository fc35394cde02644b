"""The first stage: read the source once, write it as Parquet with a record id on every row, plan the shards."""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from bedrock_assets.dataset.plan import Block, plan_with_canary
from bedrock_assets.errors import DataError, StoreConflict
from bedrock_assets.pipeline.ids import content_hash, derived_id, require_ids, require_unique
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import LINE, MADE
from bedrock_assets.storage.keys import raw_manifest_key, raw_part_key
from bedrock_assets.storage.manifests import Digest, Part, RawManifest
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

PART_ROWS = 131_072
PART_BYTES = 128 * 1024 * 1024
"""A part ends at either bound, so that memory does not depend on the dataset."""
BLOCK_ROWS = 64
"""Granularity of the counts that shards are planned by."""


@dataclass
class _Counts:
    """What one pass over the rows adds up to."""

    n_rows: int = 0
    blocks: list[Block] = field(default_factory=list)
    content: Digest = field(default_factory=hashlib.sha256)

    def add(self, rows: pl.DataFrame) -> None:
        self.n_rows += len(rows)
        content = rows.select(content_hash(rows.drop(MADE).schema).str.join("")).item()
        self.content.update(content.encode())
        self.blocks += count_blocks(rows)


def ingest(pipeline: Pipeline, store: Store) -> RawManifest:
    """
    Write `{pipeline}/raw/` and plan the shards. Nothing that a reader sees changes until the manifest is written.

    Returns:
        The manifest, published; the former one where the input has not changed.

    Raises:
        ConfigError: The source cannot be read, or the prompt does not fit its columns.
        DataError: The dataset is empty, too small, or its ids are not unique.
        StoreConflict: Another ingest was published since this one began; it stays, and this one leaves nothing.
        StoreError: The store cannot be written.
    """
    name, spec = pipeline.spec.name, pipeline.spec
    version = store.version(raw_manifest_key(name))
    former = store.read_model(raw_manifest_key(name), RawManifest)
    folder, counts = secrets.token_hex(4), _Counts()
    parts, schema = _write_parts(pipeline, store, folder, counts)
    try:
        shards = plan_with_canary(counts.blocks, spec.all_limits, spec.on_small, spec.canary)
        _require_unique(pipeline, store, parts, counts.n_rows)
    except DataError:
        store.delete([part.key for part in parts])
        raise
    counts.content.update(repr((sorted(schema.items()), shards)).encode())
    manifest = RawManifest(
        source=pipeline.source.describe(),
        revision=counts.content.hexdigest()[:16],
        n_rows=counts.n_rows,
        n_sendable=sum(block.n_sendable for block in counts.blocks),
        prompt_bytes=sum(block.n_bytes for block in counts.blocks),
        record_id=pipeline.record_id,
        columns=schema,
        parts=tuple(parts),
        shards=shards,
    )
    return _publish(store, name, manifest, former, version)


def read_rows(pipeline: Pipeline, store: Store | None = None) -> Iterator[pl.DataFrame]:
    """
    The source's rows with their ids, in order, without side effects.

    Args:
        store: Where the table of another pipeline is, if that is the source.

    Yields:
        The input's columns, then the record id (String).
    """
    position, id_column = 0, pipeline.spec.source.id_column
    for batch in pipeline.rows(store).batches():
        if batch.is_empty():
            continue
        if position == 0:
            pipeline.check_columns(batch.columns)
        if id_column is None:
            record_id = derived_id(position, content_hash(batch.schema))
        else:
            require_ids(batch, id_column, position)
            record_id = _id_of(pipeline, id_column)
        yield batch.with_columns(record_id.alias(pipeline.record_id))
        position += len(batch)


def _id_of(pipeline: Pipeline, id_column: str) -> pl.Expr:
    """The id that the dataset gives, and the values that a row was repeated for."""
    repeated = [pl.col(step.column) for step in pipeline.spec.expansions]
    return pl.concat_str(pl.col(id_column).cast(pl.String), *repeated, separator=":", ignore_nulls=True)


def count_blocks(rows: pl.DataFrame) -> list[Block]:
    """Counts for the planner, from rows with their records."""
    blocks = rows.group_by(pl.int_range(pl.len()).alias("block") // BLOCK_ROWS, maintain_order=True).agg(
        n_rows=pl.len(), n_sendable=pl.col(LINE).count(), n_bytes=(pl.col(LINE).str.len_bytes() + 1).sum()
    )
    return [Block(*row) for row in blocks.select("n_rows", "n_sendable", "n_bytes").iter_rows()]


def _write_parts(pipeline: Pipeline, store: Store, folder: str, counts: _Counts) -> tuple[list[Part], dict[str, str]]:
    parts: list[Part] = []
    pending: list[pl.DataFrame] = []
    schema: dict[str, str] = {}

    def flush() -> None:
        frame = pl.concat(pending)
        pending.clear()
        key = raw_part_key(pipeline.spec.name, folder, len(parts))
        with store.writer(key) as file:
            write_frames([frame], file)
        parts.append(Part(key=key, n_rows=len(frame), n_bytes=store.size(key)))

    for made in map_ordered(pipeline.with_records, read_rows(pipeline, store)):
        counts.add(made)
        rows = made.drop(MADE)
        schema = schema or {n: str(t) for n, t in rows.schema.items() if n != pipeline.record_id}
        pending.append(rows)
        if sum(map(len, pending)) >= PART_ROWS or sum(f.estimated_size() for f in pending) >= PART_BYTES:
            flush()
    if pending:
        flush()
    return parts, schema


def _require_unique(pipeline: Pipeline, store: Store, parts: list[Part], n_rows: int) -> None:
    if pipeline.spec.source.id_column is None:
        return

    class Ids:
        def __iter__(self) -> Iterator[pl.Series]:
            for part in parts:
                yield store.scan_parquet([part.key]).select(pipeline.record_id).collect().to_series()

    require_unique(Ids(), n_rows, pipeline.spec.source.id_column)


def _publish(
    store: Store, name: str, manifest: RawManifest, former: RawManifest | None, version: str | None
) -> RawManifest:
    """
    Manifest last; then the parts of the former ingest, or of this one where nothing changed, are removed.

    The ingest that is published first stays: which of two that ran at once has read the newer data, nobody can tell.
    """
    key, own = raw_manifest_key(name), [part.key for part in manifest.parts]
    same = former and former.revision == manifest.revision and all(store.exists(part.key) for part in former.parts)
    try:
        if former and same:
            store.require_version(key, version)
        else:
            store.replace_model(key, manifest, version)
    except StoreConflict as error:
        store.delete(own)
        raise StoreConflict(
            f"{name}/raw_dataset was published by another run while this one was at work, and nothing of this one was; "
            "materialize it again, if the source has changed since"
        ) from error
    store.delete(own if same else [part.key for part in former.parts] if former else [])
    return former if former and same else manifest
