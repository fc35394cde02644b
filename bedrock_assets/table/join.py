"""The last stage: every input row with its answer, as Parquet parts that are published together."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bedrock_assets.errors import StoreConflict
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.prices import Tokens, add
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import (
    PREPARED,
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
from bedrock_assets.table.parts import MadePart, find_part, make_part
from bedrock_assets.threads import N_READERS, map_ordered

TRIES = 3
"""Times that a table is put together because answers have come while it was published."""


@dataclass(frozen=True)
class NotReady:
    """Why the table cannot be built yet."""

    missing: tuple[str, ...]
    """Shards without answers."""
    stale: tuple[str, ...]
    """Shards whose answers belong to other rows or prompts than the current ones."""

    def __str__(self) -> str:
        told = [
            f"{len(shards)} shards {what} ({', '.join(shards[:3])}{', ...' if len(shards) > 3 else ''})"  # noqa: PLR2004
            for shards, what in ((self.missing, "have no answers yet"), (self.stale, "have answers to earlier prompts"))
            if shards
        ]
        return "; ".join(told) + "; materialize prompt_shards and batch_outputs for them"


def readiness(store: Store, pipeline: Pipeline, raw: RawManifest) -> NotReady | None:
    """
    None if every shard has answers to its current prompts.

    One listing tells which shards have any; of these two small files a shard are read, many at once.
    """
    name = pipeline.spec.name
    keys = {shard.key: outputs_key(name, shard.key) for shard in raw.shards}
    there = {file.key for file in store.files(outputs_folder(name))}

    def is_stale(shard: str) -> bool:
        prompts = current_shard(store, name, shard)
        answered = store.parquet_facts(keys[shard]).get("fingerprint") == prompts.fingerprint
        return not answered or prompts.raw_revision != raw.revision

    found = [shard for shard, key in keys.items() if key in there]
    missing = tuple(shard for shard, key in keys.items() if key not in there)
    stale = tuple(shard for shard, old in zip(found, map_ordered(is_stale, found, N_READERS), strict=True) if old)
    return NotReady(missing, stale) if missing or stale else None


def join_table(store: Store, pipeline: Pipeline, raw: RawManifest) -> TableManifest:
    """
    Put the parts of all shards together, and make those that are not there: memory for one shard at most.

    Parts are moved to `{pipeline}/table/` when all are there; one that is there already stays. The manifest comes last.

    Raises:
        DataError: A shard's answers are not one for each of its rows; nothing was published.
        StoreConflict: Another build was published, or began to be, since this one began; that one's table stays.
    """
    name = pipeline.spec.name
    lock = PublishLock(store, publish_lock_key(name), f"{name}/joined_table")
    with lock.explained():
        for _ in range(TRIES):
            made, parts = _made(store, pipeline, raw)
            manifest = _manifest(name, raw, made, parts)
            lock.take()
            _move(store, lock, parts, manifest)
            if _are_own(store, made, manifest):
                lock.hold()
                _publish(store, name, manifest)
                return manifest
    raise StoreConflict(
        f"{name}/joined_table: answers came again and again while it was published; materialize it again when none do"
    )


def _made(store: Store, pipeline: Pipeline, raw: RawManifest) -> tuple[list[MadePart], list[Part]]:
    """All parts, wherever they are."""
    name = pipeline.spec.name
    there = {file.key: file.n_bytes for folder in (PREPARED, "table") for file in store.files(f"{name}/{folder}")}

    def find(item: tuple[int, Shard]) -> MadePart | None:
        index, shard = item
        candidates = (prepared_part_key(name, shard.key), table_part_key(name, index))
        return find_part(store, pipeline, raw, shard, tuple(key for key in candidates if key in there))

    found = map_ordered(find, enumerate(raw.shards), N_READERS)
    made = [part or make_part(store, pipeline, raw, shard) for shard, part in zip(raw.shards, found, strict=True)]
    parts = [
        Part(key=part.key, n_rows=part.facts.n_rows, n_bytes=there.get(part.key) or store.size(part.key))
        for part in made
    ]
    return made, parts


def _manifest(name: str, raw: RawManifest, made: Sequence[MadePart], parts: Sequence[Part]) -> TableManifest:
    counts, digest = Counter[str](), hashlib.sha256(raw.revision.encode())
    tokens: Tokens = {}
    for part in made:
        counts.update(part.facts.counts)
        digest.update(json.dumps([part.answers.fingerprint, part.answers.version]).encode())
        tokens = add(tokens, part.answers.tokens)
    return TableManifest(
        revision=digest.hexdigest()[:16],
        n_rows=sum(part.n_rows for part in parts),
        n_ok=counts["ok"],
        n_error=counts["error"],
        n_missing=counts["missing"],
        n_truncated=counts["truncated"],
        tokens=dict(tokens),
        mean_output_tokens=counts["output_tokens"] / counts["ok"] if counts["output_tokens"] and counts["ok"] else None,
        columns=made[0].facts.columns,
        parts=tuple(part.model_copy(update={"key": table_part_key(name, i)}) for i, part in enumerate(parts)),
    )


def _move(store: Store, lock: PublishLock, parts: Sequence[Part], manifest: TableManifest) -> None:
    for part, final in zip(parts, manifest.parts, strict=True):
        if part.key != final.key:
            lock.hold()
            store.move(part.key, final.key)


def _are_own(store: Store, made: Sequence[MadePart], manifest: TableManifest) -> bool:
    """Whether all that was moved is what was counted: a part is made anew when other answers come."""
    moved = [(part, final.key) for part, final in zip(made, manifest.parts, strict=True) if part.key != final.key]
    found = map_ordered(lambda item: store.parquet_facts(item[1]).get("identity"), moved, N_READERS)
    return all(identity == part.facts.identity for (part, _), identity in zip(moved, found, strict=True))


def _publish(store: Store, name: str, manifest: TableManifest) -> None:
    """The parts are there: remove those of other tables, and tell."""
    current = {part.key for part in manifest.parts}
    old = [file.key for file in store.files(f"{name}/table") if file.key.endswith(".parquet")]
    store.delete([key for key in old if key not in current])
    store.delete([file.key for file in store.files(f"{name}/{PREPARED}")])
    store.write_model(table_manifest_key(name), manifest)
