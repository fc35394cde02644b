"""Files in the store that nothing refers to any more: of earlier datasets and prompts, and of killed processes."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance

from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.keys import (
    outputs_key,
    prepared_part_key,
    raw_manifest_key,
    shard_folder,
    shard_manifest_key,
)
from bedrock_assets.storage.manifests import RawManifest, ShardManifest
from bedrock_assets.storage.store import Store, StoredFile
from bedrock_assets.threads import N_READERS, map_ordered

GROWING = ("raw", "prompts", "jobs", "outputs", "table-incoming")
"""Folders of a pipeline in which files are left behind. Kept answers are pruned by age, and the table by itself."""


def unreferenced_files(
    instance: DagsterInstance, store: Store, pipeline: Pipeline, older_than: timedelta
) -> list[StoredFile]:
    """
    Args:
        older_than: Younger files are left: a run may just be writing them, or a job reading them.

    Returns:
        Files that neither the dataset, nor its shards, nor any job in flight refers to.
    """
    name = pipeline.spec.name
    raw = store.read_model(raw_manifest_key(name), RawManifest)
    if raw is None:
        return []
    kept = list(_kept(instance, store, name, raw))
    exact = {pattern for pattern in kept if not pattern.endswith("*")}
    folders = tuple(pattern.removesuffix("*") for pattern in kept if pattern.endswith("*"))
    before = datetime.now(UTC) - older_than
    return [
        file
        for folder in GROWING
        for file in store.files(f"{name}/{folder}")
        if file.modified_at < before and file.key not in exact and not file.key.startswith(folders)
    ]


def _kept(instance: DagsterInstance, store: Store, name: str, raw: RawManifest) -> Iterator[str]:
    """Keys, and beginnings of keys with a `*` at their end."""
    yield raw_manifest_key(name)
    yield from (part.key for part in raw.parts)
    yield from _of_shards(store, name, [shard.key for shard in raw.shards])
    ledger = Ledger(name)
    ledger.refresh(instance)
    for entry in [*ledger.open_entries, *ledger.replaced.values()]:
        request = entry.request
        yield f"{shard_folder(name, request.shard)}/{request.fingerprint}*"
        yield f"{name}/jobs/{request.shard}/{request.fingerprint}-*"


def _of_shards(store: Store, name: str, shards: Sequence[str]) -> Iterator[str]:
    def manifest(shard: str) -> ShardManifest | None:
        return store.read_model(shard_manifest_key(name, shard), ShardManifest)

    for shard, made in zip(shards, map_ordered(manifest, shards, N_READERS), strict=True):
        yield shard_manifest_key(name, shard)
        yield outputs_key(name, shard)
        yield prepared_part_key(name, shard)
        if made:
            yield f"{shard_folder(name, shard)}/{made.fingerprint}*"
            yield f"{name}/jobs/{shard}/{made.fingerprint}-*"
