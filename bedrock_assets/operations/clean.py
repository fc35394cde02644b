"""Find the jobs and files that a pipeline or an inbox left behind, stop the jobs and delete the files."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import JobFailed
from bedrock_assets.inbox.files import InboxFile, list_files
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.storage.keys import shards_folder
from bedrock_assets.storage.manifests import ShardManifest
from bedrock_assets.storage.store import Store, StoredFile
from bedrock_assets.threads import N_READERS, map_ordered

TABLE = ("table", "preferences.parquet")
"""Folders and files of a pipeline's results."""
_BATCH_SIZE = 100
"""Files that a thread deletes between two progress messages."""
_FIRST_POLL_S, _LAST_POLL_S = 0.5, 16.0


@dataclass(frozen=True)
class CleanTarget:
    """Where a pipeline or an inbox keeps its files."""

    name: str
    """Also the folder of the store for all that is no file of people."""
    processed_to: tuple[str, ...] = ()
    """Of an inbox: the folders for what comes from files."""
    dropped_to: str = ""
    """Of an inbox: the folder for files to take; empty if it is not known, as the inbox's YAML is gone."""

    @property
    def folders(self) -> tuple[str, ...]:
        """All of them."""
        return (self.name, *self.processed_to, *([self.dropped_to] if self.dropped_to else []))

    @classmethod
    def of_spec(cls, spec: WorkloadSpec) -> "CleanTarget":
        """The folders that a YAML names."""
        if isinstance(spec, InboxSpec):
            return cls(spec.name, (spec.processed_to,), spec.dropped_to)
        return cls(spec.name)

    @classmethod
    def of_name(cls, store: Store, name: str) -> "CleanTarget":
        """The folders of what is no longer defined, as far as its own files tell."""
        keys = [file.key for file in store.files(shards_folder(name)) if file.key.endswith("/manifest.json")]
        manifests = map_ordered(lambda key: store.read_intact(key, ShardManifest), keys, N_READERS)
        folders = {manifest.folder for manifest in manifests if manifest and manifest.folder}
        return cls(name, tuple(sorted(folders)))


@dataclass(frozen=True)
class CleanPlan:
    """The jobs and files of one pipeline or inbox."""

    target: CleanTarget
    jobs: tuple[Job, ...]
    """Jobs in flight that write into these stores."""
    files: tuple[StoredFile, ...]
    other_files: tuple[tuple[Store, StoredFile], ...] = ()
    """Files in the stores of other regions."""
    dropped: tuple[StoredFile, ...] = ()
    """Of an inbox: files that nobody has taken yet, which are deleted as well."""
    left: tuple[InboxFile, ...] = ()
    """Of an inbox: what lies in its folder and stays: folders, links, and names that are not a key of the store."""

    @property
    def pipeline(self) -> str:
        """Its name."""
        return self.target.name

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(file.n_bytes for file in self.all_files)

    @property
    def all_files(self) -> tuple[StoredFile, ...]:
        """The files of all regions."""
        return (*self.files, *self.dropped, *(file for _, file in self.other_files))

    @property
    def folders(self) -> dict[str, tuple[int, int]]:
        """
        Number of files and bytes in each folder of the pipeline, and of each file outside of a folder.

        An inbox's other folders are named from the top of the store, with a slash at the end.
        """
        sizes: dict[str, list[int]] = {}
        for file in (*self.files, *self.dropped):
            sizes.setdefault(_folder(self.target, file), []).append(file.n_bytes)
        return {name: (len(n_bytes), sum(n_bytes)) for name, n_bytes in sizes.items()}


def plan_clean(regions: Regions, target: CleanTarget, *, keep_table: bool = False) -> CleanPlan:
    """
    List the jobs and files of a pipeline or an inbox. Nothing is changed.

    Args:
        keep_table: Leave out the joined table and the preferences, or the answers to an inbox's files.
    """
    store, own = regions.store, (target.name, *target.processed_to)
    files = [file for folder in own for file in store.files(folder) if not (keep_table and _is_result(target, file))]
    others = {region.store.root: region.store for region in regions.all if region.store}
    other_files = ((other, file) for other in others.values() for folder in own for file in other.files(folder))
    in_flight, (dropped, left) = tuple(_in_flight(regions, target)), _dropped(store, target)
    return CleanPlan(target, in_flight, tuple(files), tuple(other_files), dropped, left)


def _dropped(store: Store, target: CleanTarget) -> tuple[tuple[StoredFile, ...], tuple[InboxFile, ...]]:
    """The files in an inbox's folder that can be deleted, and what stays; nothing behind a link is ours to delete."""
    if not target.dropped_to:
        return (), ()
    keys = {file.key: file for file in store.files(target.dropped_to)}
    entries = {f"{target.dropped_to}/{entry.name}": entry for entry in list_files(store, target.dropped_to)}
    dropped = tuple(keys[key] for key, entry in entries.items() if entry.is_file and key in keys)
    return dropped, tuple(entry for key, entry in entries.items() if not (entry.is_file and key in keys))


def without_new_drops(plan: CleanPlan, told: CleanPlan) -> CleanPlan:
    """The *plan* without files that were dropped since *told*: nobody was told of them, so they stay."""
    known = {(file.key, file.modified_at) for file in told.dropped}
    return replace(plan, dropped=tuple(file for file in plan.dropped if (file.key, file.modified_at) in known))


def stop_jobs(
    regions: Regions,
    target: CleanTarget,
    *,
    timeout_s: float,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """
    Stop all jobs and wait until none is in flight. A job that is still stopping can write files.

    Args:
        timeout_s: Longest time to wait, in seconds.
        report: Called with progress messages.

    Returns:
        Number of jobs that were stopped.

    Raises:
        JobFailed: A job is still in flight after *timeout_s*.
    """
    deadline, poll_s, stopped = time.monotonic() + timeout_s, _FIRST_POLL_S, set[str]()
    while jobs := list(_in_flight(regions, target)):
        for job in jobs:
            if job.status is not JobStatus.STOPPING and job.arn not in stopped:
                regions.stop(job.arn)
        stopped |= {job.arn for job in jobs}
        if time.monotonic() > deadline:
            raise JobFailed(
                f"{len(jobs)} jobs of {target.name} are still in flight after {timeout_s:.0f} s ({jobs[0].name} is "
                f"{jobs[0].status}), so no file was deleted; run the command again later"
            )
        report(f"waiting for {len(jobs)} jobs to stop")
        time.sleep(poll_s)
        poll_s = min(2 * poll_s, _LAST_POLL_S)
    return len(stopped)


def delete_files(store: Store, plan: CleanPlan) -> Iterator[int]:
    """
    Delete the files of *plan*, many at once.

    Yields:
        Number of files that are deleted so far.
    """
    files = [*((store, file) for file in (*plan.files, *plan.dropped)), *plan.other_files]

    def delete(batch: Sequence[tuple[Store, StoredFile]]) -> int:
        for root in {store.root: store for store, _ in batch}.values():
            root.delete([file.key for store, file in batch if store is root])
        return len(batch)

    batches = (files[i : i + _BATCH_SIZE] for i in range(0, len(files), _BATCH_SIZE))
    yield from accumulate(map_ordered(delete, batches, N_READERS))


def _folder(target: CleanTarget, file: StoredFile) -> str:
    """The part of a key after the pipeline's name; of an inbox's other files the folder, with a slash."""
    others = (f"{folder}/" for folder in target.folders[1:])
    return next((folder for folder in others if file.key.startswith(folder)), file.key.split("/")[1])


def _is_result(target: CleanTarget, file: StoredFile) -> bool:
    """Whether a file is part of the table, or has the answers to one of an inbox's files."""
    if file.key.startswith(f"{target.name}/"):
        return _folder(target, file) in TABLE
    *_, folder, name = file.key.split("/")
    return name == f"{folder}.parquet"


def _in_flight(regions: Regions, target: CleanTarget) -> Iterator[Job]:
    """Jobs in flight. Their names are truncated and shared by deployments, so they are known by their output folder."""
    stores = [regions.store, *(region.store for region in regions.all if region.store)]
    folders = tuple(f"{store.uri(folder)}/" for store in stores for folder in target.folders)
    for job in regions.list(name_contains=name_prefix(target.name)):
        if job.status.in_flight and job.output_uri.startswith(folders):
            yield job
