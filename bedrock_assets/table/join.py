"""Publish every row of the input with its answer, as Parquet parts that appear together."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import compress

from bedrock_assets.errors import StoreConflict
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.prices import Tokens, add
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import (
    FORMER,
    PREPARED,
    former_part_key,
    outputs_folder,
    outputs_key,
    prepared_part_key,
    publish_lock_key,
    table_manifest_key,
    table_part_key,
)
from bedrock_assets.storage.manifests import Part, RawManifest, Shard, TableManifest
from bedrock_assets.storage.publish_lock import PublishLock
from bedrock_assets.storage.store import Store
from bedrock_assets.table.parts import TablePart, find_part, make_part
from bedrock_assets.threads import N_READERS, map_ordered
from bedrock_assets.units import counted

TRIES = 3
"""Builds of a table before giving up, if new answers keep arriving during publication."""
KEPT = timedelta(hours=1)
"""How long a part that was replaced can still be read, at least: longer than a query takes."""


@dataclass(frozen=True)
class NotReady:
    """The reason why the table cannot be built yet."""

    missing: tuple[str, ...]
    """Shards without answers."""
    stale: tuple[str, ...]
    """Shards whose answers are to earlier rows or prompts."""

    def __str__(self) -> str:
        reasons = [
            f"{counted(len(shards), 'shard', 'have')} {what} ({', '.join([*shards[:3], '...'][: len(shards)])})"
            for shards, what in ((self.missing, "no answers yet"), (self.stale, "answers to earlier prompts"))
            if shards
        ]
        return "; ".join(reasons) + "; materialize prompt_shards and batch_outputs for them"


def readiness(store: Store, pipeline: Pipeline, raw: RawManifest) -> NotReady | None:
    """
    Check that every shard has answers to its current prompts; None if so.

    Shards with answers are found in one listing. Two small files of each are read, many at once.
    """
    name = pipeline.spec.name
    keys = {shard.key: outputs_key(name, shard.key) for shard in raw.shards}
    existing = {file.key for file in store.files(outputs_folder(name))}

    def is_stale(shard: str) -> bool:
        prompts = current_shard(store, name, shard)
        fingerprint = store.parquet_facts(keys[shard]).get("fingerprint")
        return fingerprint != prompts.fingerprint or prompts.raw_revision != raw.revision

    answered = [shard for shard, key in keys.items() if key in existing]
    missing = tuple(shard for shard, key in keys.items() if key not in existing)
    stale = tuple(compress(answered, map_ordered(is_stale, answered, N_READERS)))
    return NotReady(missing, stale) if missing or stale else None


def join_table(store: Store, pipeline: Pipeline, raw: RawManifest) -> TableManifest:
    """
    Publish the parts of all shards, after making those that are missing. Memory holds one shard at most.

    Once all parts exist, those that are not in `{pipeline}/table/` yet are moved there. The manifest is written last.
    What they replace is kept aside for an hour, and until the next table: whoever reads the former table reads it on.

    Raises:
        DataError: A shard does not have one answer for each of its rows. Nothing was published.
        StoreConflict: Another run published a table, or began to, while this one was working. That table stays.
    """
    name = pipeline.spec.name
    lock = PublishLock(store, publish_lock_key(name), f"{name}/joined_table")
    with lock.explained():
        for _ in range(TRIES):
            parts = _all_parts(store, pipeline, raw)
            manifest = _manifest(name, raw, parts)
            lock.take()
            former = _set_aside(store, lock, name, manifest)
            if _move(store, lock, parts, manifest):
                lock.hold()
                _publish(store, name, manifest, former)
                return manifest
    raise StoreConflict(
        f"{name}/joined_table: new answers kept arriving during publication; materialize it again when none arrive"
    )


def _all_parts(store: Store, pipeline: Pipeline, raw: RawManifest) -> list[TablePart]:
    """The parts of all shards, in order; those that are missing are made."""
    name = pipeline.spec.name
    sizes = {file.key: file.n_bytes for folder in (PREPARED, "table") for file in store.files(f"{name}/{folder}")}

    def find(item: tuple[int, Shard]) -> TablePart | None:
        index, shard = item
        keys = (prepared_part_key(name, shard.key), table_part_key(name, index))
        return find_part(store, pipeline, raw, shard, {key: sizes[key] for key in keys if key in sizes})

    existing = map_ordered(find, enumerate(raw.shards), N_READERS)
    return [part or make_part(store, pipeline, raw, shard) for shard, part in zip(raw.shards, existing, strict=True)]


def _manifest(name: str, raw: RawManifest, parts: Sequence[TablePart]) -> TableManifest:
    counts, digest = Counter[str](), hashlib.sha256(raw.revision.encode())
    tokens: Tokens = {}
    n_told = 0
    for part in parts:
        counts.update(part.facts.counts)
        n_told += part.facts.counts.get("told", part.facts.counts.get("ok", 0))
        digest.update(json.dumps([part.answers.fingerprint, part.answers.version]).encode())
        tokens = add(tokens, part.answers.tokens)
    return TableManifest(
        revision=digest.hexdigest()[:16],
        n_rows=sum(part.facts.n_rows for part in parts),
        n_ok=counts["ok"],
        n_error=counts["error"],
        n_missing=counts["missing"],
        n_truncated=counts["truncated"],
        tokens=dict(tokens),
        # A part of an earlier version does not say how many rows tell their tokens.
        mean_output_tokens=counts["output_tokens"] / n_told if counts["output_tokens"] and n_told else None,
        columns=parts[0].facts.columns,
        parts=tuple(
            Part(
                key=table_part_key(name, index),
                n_rows=part.facts.n_rows,
                n_bytes=part.n_bytes,
                identity=part.facts.identity,
            )
            for index, part in enumerate(parts)
        ),
    )


def _set_aside(store: Store, lock: PublishLock, name: str, manifest: TableManifest) -> set[str]:
    """Copy the parts that are about to be replaced or deleted to where readers find them; keys of these copies."""
    published = store.read_intact(table_manifest_key(name), TableManifest)
    current = {part.key: part.identity for part in manifest.parts}
    # A part of an earlier release does not say what it is made of, and nobody would find its copy.
    replaced = [
        part for part in (published.parts if published else ()) if part.identity not in ("", current.get(part.key))
    ]

    def keep(part: Part) -> str:
        key, facts = former_part_key(name, part.identity), store.intact_facts(part.key) or {}
        # A build that was killed may have replaced it already.
        if facts.get("identity") == part.identity:
            lock.hold()
            store.copy(part.key, key)
        return key

    return set(map_ordered(keep, replaced, N_READERS))


def _move(store: Store, lock: PublishLock, parts: Sequence[TablePart], manifest: TableManifest) -> bool:
    """
    Move the prepared parts to the table.

    Returns:
        Whether the parts that were moved are those that were counted; new answers may have replaced one before.
    """
    moves = [(part, final.key) for part, final in zip(parts, manifest.parts, strict=True) if part.key != final.key]
    for part, key in moves:
        lock.hold()
        store.move(part.key, key)
    identities = map_ordered(lambda move: store.parquet_facts(move[1]).get("identity"), moves, N_READERS)
    return all(identity == part.facts.identity for (part, _), identity in zip(moves, identities, strict=True))


def _publish(store: Store, name: str, manifest: TableManifest, former: Set[str]) -> None:
    """Delete the parts of other tables and all prepared parts, write the manifest, and delete copies that are old."""
    current = {part.key for part in manifest.parts}
    old = [file.key for file in store.files(f"{name}/table") if file.key.endswith(".parquet")]
    store.delete([key for key in old if key not in current])
    store.delete([file.key for file in store.files(f"{name}/{PREPARED}")])
    store.write_model(table_manifest_key(name), manifest)
    since = datetime.now(UTC) - KEPT
    copies = store.files(f"{name}/{FORMER}")
    store.delete([file.key for file in copies if former and file.key not in former and file.modified_at < since])
