"""Read the source once, write it as Parquet with a record id on every row, and plan the shards."""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from bedrock_assets.dataset.plan import Block, plan_with_canary
from bedrock_assets.errors import DataError, StoreConflict, panics_are_errors
from bedrock_assets.pipeline.ids import content_hash, derived_id, require_ids, require_unique
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import LINE
from bedrock_assets.pipeline.templates import as_text
from bedrock_assets.sources import Source
from bedrock_assets.storage.keys import raw_manifest_key, raw_part_key
from bedrock_assets.storage.manifests import Digest, Part, RawManifest
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

PART_ROWS = 131_072
PART_BYTES = 128 * 1024 * 1024
"""A part ends at either limit, so memory use does not depend on the size of the dataset."""
BLOCK_ROWS = 64
"""Rows in each block that the planner counts."""


@dataclass
class _Counts:
    """Totals of one pass over the rows."""

    n_rows: int = 0
    blocks: list[Block] = field(default_factory=list)
    content: Digest = field(default_factory=hashlib.sha256)

    def add(self, rows: pl.DataFrame, records: pl.DataFrame) -> None:
        self.n_rows += len(rows)
        content = rows.select(content_hash(rows.schema).str.join("")).item()
        self.content.update(content.encode())
        self.blocks += count_blocks(records)


@panics_are_errors("the dataset cannot be written")
def ingest(pipeline: Pipeline, store: Store) -> RawManifest:
    """
    Write `{pipeline}/raw/` and plan the shards. Readers see no change until the manifest is written.

    Returns:
        The published manifest; the previous one if the input has not changed.

    Raises:
        ConfigError: The source cannot be read, or the prompt does not fit its columns.
        DataError: The dataset is empty or too small, or its ids are not unique.
        StoreConflict: Another run published the dataset while this one was working. This run left no files.
        StoreError: The store cannot be written.
    """
    name, spec = pipeline.spec.name, pipeline.spec
    version = store.version(raw_manifest_key(name))
    previous = store.read_intact(raw_manifest_key(name), RawManifest)
    folder, counts, source = secrets.token_hex(4), _Counts(), pipeline.rows(store)
    parts, schema = _write_parts(pipeline, store, folder, counts, source)
    try:
        shards = plan_with_canary(counts.blocks, spec.all_limits, spec.on_small, spec.canary)
        _require_unique(pipeline, store, parts, counts.n_rows)
    except DataError:
        store.delete([part.key for part in parts])
        raise
    counts.content.update(repr((sorted(schema.items()), shards)).encode())
    manifest = RawManifest(
        source=source.describe(),  # of one that was read: it tells the version
        revision=counts.content.hexdigest()[:16],
        n_rows=counts.n_rows,
        n_sendable=sum(block.n_sendable for block in counts.blocks),
        prompt_bytes=sum(block.n_bytes for block in counts.blocks),
        record_id=pipeline.record_id,
        columns=schema,
        parts=tuple(parts),
        shards=shards,
    )
    return _publish(store, name, manifest, previous, version)


def read_rows(pipeline: Pipeline, store: Store | None = None, source: Source | None = None) -> Iterator[pl.DataFrame]:
    """
    Read the source's rows in order and give each its id. Nothing is written.

    Args:
        store: Holds the table of another pipeline, if the source is one.
        source: What is read, by default the pipeline's rows.

    Yields:
        The input's columns, then the record id (String).
    """
    position, id_column = 0, pipeline.spec.source.id_column
    for batch in (source or pipeline.rows(store)).batches():
        if batch.is_empty():
            continue
        if position == 0:
            pipeline.check_columns(batch.columns)
        if id_column is None:
            record_id = derived_id(position, content_hash(batch.schema))
        else:
            require_ids(batch, id_column, position)
            record_id = _id_of(pipeline, id_column, batch.schema)
        yield batch.with_columns(record_id.alias(pipeline.record_id))
        position += len(batch)


def _id_of(pipeline: Pipeline, id_column: str, schema: pl.Schema) -> pl.Expr:
    """The dataset's own id, followed by the values that a row was repeated for."""
    repeated = [as_text(step.column, schema[step.column]) for step in pipeline.spec.expansions]
    return pl.concat_str(as_text(id_column, schema[id_column]), *repeated, separator=":", ignore_nulls=True)


def count_blocks(rows: pl.DataFrame) -> list[Block]:
    """
    Count rows for the planner.

    Args:
        rows: Records in order, in column `LINE`, String.
    """
    blocks = rows.group_by(pl.int_range(pl.len()).alias("block") // BLOCK_ROWS, maintain_order=True).agg(
        n_rows=pl.len(), n_sendable=pl.col(LINE).count(), n_bytes=(pl.col(LINE).str.len_bytes() + 1).sum()
    )
    return [Block(*row) for row in blocks.select("n_rows", "n_sendable", "n_bytes").iter_rows()]


def _write_parts(
    pipeline: Pipeline, store: Store, folder: str, counts: _Counts, source: Source
) -> tuple[list[Part], dict[str, str]]:
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

    def make(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        return rows, pipeline.records.make(rows)

    for rows, records in map_ordered(make, read_rows(pipeline, store, source)):
        counts.add(rows, records)
        pending.append(rows)
        schema = schema or {n: str(t) for n, t in pending[0].schema.items() if n != pipeline.record_id}
        if sum(map(len, pending)) >= PART_ROWS or sum(frame.estimated_size() for frame in pending) >= PART_BYTES:
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
                yield store.read_parquet(part.key, lambda rows: rows.select(pipeline.record_id)).to_series()

    require_unique(Ids(), n_rows, pipeline.spec.source.id_column)


def _publish(
    store: Store, name: str, manifest: RawManifest, previous: RawManifest | None, version: str | None
) -> RawManifest:
    """
    Write the manifest, then delete the parts of the previous ingest, or of this one if nothing has changed.

    If two runs work at once, the first to publish wins: it is unknown which of them read the newer data.
    """
    key, own = raw_manifest_key(name), [part.key for part in manifest.parts]
    same = (
        previous
        and previous.revision == manifest.revision
        and all(store.is_parquet(part.key, part.n_bytes) for part in previous.parts)
    )
    try:
        if previous and same:
            store.require_version(key, version)
        else:
            store.replace_model(key, manifest, version)
    except StoreConflict as error:
        store.delete(own)
        raise StoreConflict(
            f"another run published {name}/raw_dataset while this run was working, so this run published nothing; "
            "materialize it again if the source has changed since"
        ) from error
    store.delete(own if same else [part.key for part in previous.parts] if previous else [])
    return previous if previous and same else manifest
