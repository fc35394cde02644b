"""
Find files in the store that nothing refers to: of earlier datasets and prompts, and of killed processes.

Of an inbox those are earlier copies of files and the jobs' outputs for them. The files themselves and their answers are
never among them, nor what lies in the folder for files to take.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance

from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.storage.keys import (
    attempt_folder,
    outputs_key,
    prepared_part_key,
    raw_manifest_key,
    shard_folder,
    shard_manifest_key,
    shards_folder,
)
from bedrock_assets.storage.manifests import RawManifest, ShardManifest
from bedrock_assets.storage.store import Store, StoredFile
from bedrock_assets.threads import N_READERS, map_ordered

GROWING = ("raw", "prompts", "jobs", "outputs", "table-incoming")
"""Folders in which files are left behind. Reusable answers are deleted by age, and the table deletes its own parts."""


def unreferenced_files(
    instance: DagsterInstance, store: Store, spec: WorkloadSpec, older_than: timedelta
) -> list[StoredFile]:
    """
    List files that neither the dataset, nor its shards, nor any job in flight refers to.

    Args:
        older_than: Younger files are left out: a run may still write them, or a job may read them.
    """
    if isinstance(spec, InboxSpec):
        files = _of_inbox(store, spec)
        shards = sorted({file.key.split("/")[2] for file in files if file.key.startswith(f"{spec.name}/")})
        kept = list(_of_shards(store, spec, shards))
    else:
        raw = store.read_model(raw_manifest_key(spec.name), RawManifest)
        if raw is None:
            return []
        files = [file for folder in GROWING for file in store.files(f"{spec.name}/{folder}")]
        kept = [raw_manifest_key(spec.name), *(part.key for part in raw.parts)]
        kept += _of_shards(store, spec, [shard.key for shard in raw.shards])
    kept += _of_open_requests(instance, spec)
    exact = {pattern for pattern in kept if not pattern.endswith("*")}
    folders = tuple(pattern.removesuffix("*") for pattern in kept if pattern.endswith("*"))
    before = datetime.now(UTC) - older_than
    return [
        file
        for file in files
        if file.modified_at < before and file.key not in exact and not file.key.startswith(folders)
    ]


def _of_inbox(store: Store, spec: InboxSpec) -> list[StoredFile]:
    """The copies of an inbox's files, and what jobs wrote for them."""
    written = re.compile(rf"{re.escape(spec.processed_to)}/[^/]+/[0-9a-f]{{16}}-\d+/.+")
    jobs = [file for file in store.files(spec.processed_to) if written.fullmatch(file.key)]
    return [*store.files(shards_folder(spec.name)), *jobs]


def _of_open_requests(instance: DagsterInstance, spec: WorkloadSpec) -> Iterator[str]:
    """Keys in use, and prefixes of such keys, with a `*` at their end."""
    ledger = Ledger.of(spec)
    ledger.refresh(instance)
    for entry in [*ledger.open_entries, *ledger.replaced.values()]:
        yield from _of_version(spec, entry.request.shard, entry.request.fingerprint)


def _of_shards(store: Store, spec: WorkloadSpec, shards: Sequence[str]) -> Iterator[str]:
    """The same, of shards as they are now."""
    name = spec.name

    def manifest(shard: str) -> ShardManifest | None:
        return store.read_model(shard_manifest_key(name, shard), ShardManifest)

    for shard, current in zip(shards, map_ordered(manifest, shards, N_READERS), strict=True):
        yield from (shard_manifest_key(name, shard), outputs_key(name, shard), prepared_part_key(name, shard))
        if current:
            yield from _of_version(spec, shard, current.fingerprint)


def _of_version(spec: WorkloadSpec, shard: str, fingerprint: str) -> Iterator[str]:
    yield f"{shard_folder(spec.name, shard)}/{fingerprint}*"
    attempts = attempt_folder(spec.name, shard, fingerprint, 1, spec.folder_of(shard))
    yield f"{attempts.removesuffix('1')}*"
