"""What a pipeline left behind, jobs in flight and files, and how to be rid of it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import JobFailed
from bedrock_assets.jobs.request import name_prefix
from bedrock_assets.storage.store import Store, StoredFile
from bedrock_assets.threads import N_READERS, map_ordered

TABLE = ("table", "preferences.parquet")
"""What a pipeline is run for."""
_AT_ONCE = 100
"""Files that a thread deletes before it tells of them."""
_FIRST_POLL_S, _LAST_POLL_S = 0.5, 16.0


@dataclass(frozen=True)
class CleanTarget:
    """What there is of one pipeline."""

    pipeline: str
    jobs: tuple[Job, ...]
    """In flight, and writing into these stores."""
    files: tuple[StoredFile, ...]
    elsewhere: tuple[tuple[Store, StoredFile], ...] = ()
    """Files in the buckets of other places."""

    @property
    def n_bytes(self) -> int:
        """Size of the files."""
        return sum(file.n_bytes for file in self.all_files)

    @property
    def all_files(self) -> tuple[StoredFile, ...]:
        """The files of all places."""
        return (*self.files, *(file for _, file in self.elsewhere))

    @property
    def folders(self) -> dict[str, tuple[int, int]]:
        """Number of files and bytes in each folder of the pipeline; a file beside the folders stands for itself."""
        found: dict[str, tuple[int, int]] = {}
        for file in self.files:
            name = _folder(file)
            n_files, n_bytes = found.get(name, (0, 0))
            found[name] = (n_files + 1, n_bytes + file.n_bytes)
        return found


def find_remains(regions: Regions, pipeline: str, *, keep_table: bool = False) -> CleanTarget:
    """
    Look, and change nothing.

    Args:
        pipeline: Its name; the pipeline itself may be gone.
        keep_table: Leave the final table out.
    """
    files = tuple(file for file in regions.store.files(pipeline) if not (keep_table and _folder(file) in TABLE))
    others = {region.store.root: region.store for region in regions.all if region.store}
    elsewhere = tuple((store, file) for store in others.values() for file in store.files(pipeline))
    return CleanTarget(pipeline, tuple(_in_flight(regions, pipeline)), files, elsewhere)


def stop_jobs(
    regions: Regions,
    pipeline: str,
    *,
    timeout_s: float,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """
    Stop a pipeline's jobs and wait until none is in flight, because one that is still stopping writes files.

    Returns:
        How many were stopped.

    Raises:
        JobFailed: One is still in flight after *timeout_s*.
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
                f"{jobs[0].status}); no file was deleted. Run the command again later"
            )
        tell(f"{len(jobs)} jobs are in flight; waiting until they have stopped")
        time.sleep(poll_s)
        poll_s = min(2 * poll_s, _LAST_POLL_S)
    return len(stopped)


def delete_files(store: Store, found: CleanTarget) -> Iterator[int]:
    """Delete the files of *found*, many at once; yields how many are gone by now."""
    n_gone, files = 0, [*((store, file) for file in found.files), *found.elsewhere]

    def delete(some: Sequence[tuple[Store, StoredFile]]) -> int:
        for where in {where.root: where for where, _ in some}.values():
            where.delete([file.key for its, file in some if its is where])
        return len(some)

    for n_files in map_ordered(delete, (files[i : i + _AT_ONCE] for i in range(0, len(files), _AT_ONCE)), N_READERS):
        n_gone += n_files
        yield n_gone


def _folder(file: StoredFile) -> str:
    """The part of a key after the pipeline's name."""
    return file.key.split("/")[1]


def _in_flight(regions: Regions, pipeline: str) -> Iterator[Job]:
    """Names are cut short and shared by deployments, so a job is known by the folder that it writes into."""
    folders = tuple(f"{store.uri(pipeline)}/" for store in (regions.store, *(p.store for p in regions.all if p.store)))
    for job in regions.list(name_contains=name_prefix(pipeline)):
        if job.status.in_flight and job.output_uri.startswith(folders):
            yield job
