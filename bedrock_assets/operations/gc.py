"""Find files in the store that nothing refers to: of earlier datasets and prompts, and of killed processes."""

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
"""Folders in which files are left behind. Reusable answers are deleted by age, and the table deletes its own parts."""


def unreferenced_files(
    instance: DagsterInstance, store: Store, pipeline: Pipeline, older_than: timedelta
) -> list[StoredFile]:
    """
    List files that neither the dataset, nor its shards, nor any job in flight refers to.

    Args:
        older_than: Younger files are left out: a run may still write them, or a job may read them.
    """
    name = pipeline.spec.name
    raw = store.read_model(raw_manifest_key(name), RawManifest)
    if raw is None:
        return []
    kept = list(_kept(instance, store, pipeline, raw))
    exact = {pattern for pattern in kept if not pattern.endswith("*")}
    folders = tuple(pattern.removesuffix("*") for pattern in kept if pattern.endswith("*"))
    before = datetime.now(UTC) - older_than
    return [
        file
        for folder in GROWING
        for file in store.files(f"{name}/{folder}")
        if file.modified_at < before and file.key not in exact and not file.key.startswith(folders)
    ]


def _kept(instance: DagsterInstance, store: Store, pipeline: Pipeline, raw: RawManifest) -> Iterator[str]:
    """Keys in use, and prefixes of such keys, with a `*` at their end."""
    name = pipeline.spec.name
    yield raw_manifest_key(name)
    yield from (part.key for part in raw.parts)
    yield from _of_shards(store, name, [shard.key for shard in raw.shards])
    ledger = Ledger.of(pipeline.spec)
    ledger.refresh(instance)
    for entry in [*ledger.open_entries, *ledger.replaced.values()]:
        yield from _of_version(name, entry.request.shard, entry.request.fingerprint)


def _of_shards(store: Store, name: str, shards: Sequence[str]) -> Iterator[str]:
    def manifest(shard: str) -> ShardManifest | None:
        return store.read_model(shard_manifest_key(name, shard), ShardManifest)

    for shard, current in zip(shards, map_ordered(manifest, shards, N_READERS), strict=True):
        yield from (shard_manifest_key(name, shard), outputs_key(name, shard), prepared_part_key(name, shard))
        if current:
            yield from _of_version(name, shard, current.fingerprint)


def _of_version(name: str, shard: str, fingerprint: str) -> Iterator[str]:
    yield f"{shard_folder(name, shard)}/{fingerprint}*"
    yield f"{name}/jobs/{shard}/{fingerprint}-*"
