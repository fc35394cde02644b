"""Find the jobs and files that a pipeline left behind, stop the jobs and delete the files."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import JobFailed
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.storage.store import Store, StoredFile
from bedrock_assets.threads import N_READERS, map_ordered

TABLE = ("table", "preferences.parquet")
"""Folders and files of a pipeline's results."""
_BATCH_SIZE = 100
"""Files that a thread deletes between two progress messages."""
_FIRST_POLL_S, _LAST_POLL_S = 0.5, 16.0


@dataclass(frozen=True)
class CleanPlan:
    """The jobs and files of one pipeline."""

    pipeline: str
    jobs: tuple[Job, ...]
    """Jobs in flight that write into these stores."""
    files: tuple[StoredFile, ...]
    other_files: tuple[tuple[Store, StoredFile], ...] = ()
    """Files in the stores of other regions."""

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(file.n_bytes for file in self.all_files)

    @property
    def all_files(self) -> tuple[StoredFile, ...]:
        """The files of all regions."""
        return (*self.files, *(file for _, file in self.other_files))

    @property
    def folders(self) -> dict[str, tuple[int, int]]:
        """Number of files and bytes in each folder of the pipeline, and of each file outside of a folder."""
        sizes: dict[str, list[int]] = {}
        for file in self.files:
            sizes.setdefault(_folder(file), []).append(file.n_bytes)
        return {name: (len(n_bytes), sum(n_bytes)) for name, n_bytes in sizes.items()}


def plan_clean(regions: Regions, pipeline: str, *, keep_table: bool = False) -> CleanPlan:
    """
    List a pipeline's jobs and files. Nothing is changed.

    Args:
        pipeline: Name of the pipeline, which may no longer be defined.
        keep_table: Leave out the joined table and the preferences.
    """
    files = tuple(file for file in regions.store.files(pipeline) if not (keep_table and _folder(file) in TABLE))
    others = {region.store.root: region.store for region in regions.all if region.store}
    other_files = tuple((store, file) for store in others.values() for file in store.files(pipeline))
    return CleanPlan(pipeline, tuple(_in_flight(regions, pipeline)), files, other_files)


def stop_jobs(
    regions: Regions,
    pipeline: str,
    *,
    timeout_s: float,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """
    Stop a pipeline's jobs and wait until none is in flight. A job that is still stopping can write files.

    Args:
        timeout_s: Longest time to wait, in seconds.
        report: Called with progress messages.

    Returns:
        Number of jobs that were stopped.

    Raises:
        JobFailed: A job is still in flight after *timeout_s*.
    """
    deadline, poll_s, stopped = time.monotonic() + timeout_s, _FIRST_POLL_S, set[str]()
    while jobs := list(_in_flight(regions, pipeline)):
        for job in jobs:
            if job.status is not JobStatus.STOPPING and job.arn not in stopped:
                regions.stop(job.arn)
        stopped |= {job.arn for job in jobs}
        if time.monotonic() > deadline:
            raise JobFailed(
                f"{len(jobs)} jobs of {pipeline} are still in flight after {timeout_s:.0f} s ({jobs[0].name} is "
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
    files = [*((store, file) for file in plan.files), *plan.other_files]

    def delete(batch: Sequence[tuple[Store, StoredFile]]) -> int:
        for root in {store.root: store for store, _ in batch}.values():
            root.delete([file.key for store, file in batch if store is root])
        return len(batch)

    batches = (files[i : i + _BATCH_SIZE] for i in range(0, len(files), _BATCH_SIZE))
    yield from accumulate(map_ordered(delete, batches, N_READERS))


def _folder(file: StoredFile) -> str:
    """The part of a key after the pipeline's name."""
    return file.key.split("/")[1]


def _in_flight(regions: Regions, pipeline: str) -> Iterator[Job]:
    """Jobs in flight. Their names are truncated and shared by deployments, so they are known by their output folder."""
    stores = [regions.store, *(region.store for region in regions.all if region.store)]
    folders = tuple(f"{store.uri(pipeline)}/" for store in stores)
    for job in regions.list(name_contains=name_prefix(pipeline)):
        if job.status.in_flight and job.output_uri.startswith(folders):
            yield job
