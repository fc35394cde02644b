"""Bedrock's jobs and the files of inboxes: read over the network, and so cached."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from dagster import DagsterInstance

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.inbox.files import list_files
from bedrock_assets.inbox.rejections import Rejections
from bedrock_assets.jobs.observe import ObservedJobs
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.storage.store import Store

T = TypeVar("T")
GRACE_S = 60
"""Seconds past its age limit for which the last value is served while a new one is fetched."""
OTHERS = "(other)"
"""Label of jobs that none of these pipelines sent."""


@dataclass
class Cached(Generic[T]):
    """The last value of a slow call, fetched on another thread, as Prometheus does not wait long."""

    fetch: Callable[[], T]
    hold_s: float
    """Seconds for which a value is served again."""
    patience_s: float
    """Seconds to wait for a value; a later one is served at the next scrape."""
    _thread: threading.Thread | None = None
    _at: float | None = None
    _values: list[T] = field(default_factory=list)
    _error: Exception | None = None

    def get(self) -> T:
        """
        The value, fetched again if it is too old.

        Raises:
            TimeoutError: There is no value yet, and none that was good a minute ago.
            Exception: What the last `fetch` raised.
        """
        age_s = inf if self._at is None else time.monotonic() - self._at
        if self._thread is None and age_s >= self.hold_s:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        if self._thread is not None:
            self._thread.join(self.patience_s)
            if self._thread.is_alive() and self._error is None and age_s < self.hold_s + GRACE_S:
                return self._values[0]
            if self._thread.is_alive():
                raise TimeoutError(f"no answer within {self.patience_s:g} s")
            self._thread = None
        if self._error is not None:
            raise self._error
        return self._values[0]

    def _run(self) -> None:
        try:
            self._values, self._error = [self.fetch()], None
        except Exception as error:  # `get` raises it
            self._error = error
        self._at = time.monotonic()


@dataclass(frozen=True)
class JobCounts:
    """Bedrock's jobs of the last days, from any sender, in each account and region that is used."""

    jobs: Sequence[Job]
    specs: Sequence[WorkloadSpec]
    observed: ObservedJobs

    @classmethod
    def read(cls, regions: Regions, specs: Sequence[WorkloadSpec]) -> "JobCounts":
        """
        List the jobs.

        Raises:
            BedrockError: No region is reachable, or listing is not allowed.
        """
        observed = ObservedJobs.observe(regions, specs)
        return cls([job for jobs in observed.recent.values() for job in jobs.values()], specs, observed)

    def pipeline_of(self, job: Job) -> str:
        """The sender of a job, by its name. Pipelines with the same first 23 characters count as one."""
        names = [name for name in (spec.name for spec in self.specs) if job.name.startswith(name_prefix(name))]
        return max(names, key=len, default=OTHERS)

    @property
    def by_status(self) -> Counter[tuple[str, str, str]]:
        """Jobs by pipeline, model and status."""
        return Counter((self.pipeline_of(job), label_of(job.model), job.status.value) for job in self.jobs)

    @property
    def records(self) -> Counter[tuple[str, str, str]]:
        """Records of jobs in flight by pipeline, model and outcome: `pending`, `success`, `error`."""
        counts = Counter[tuple[str, str, str]]()
        for job in self.jobs:
            if job.status.in_flight:
                labels = (self.pipeline_of(job), label_of(job.model))
                counts[*labels, "pending"] += max(0, job.n_total - job.n_processed)
                counts[*labels, "success"] += job.n_success
                counts[*labels, "error"] += job.n_error
        return counts

    def n_in_flight(self, pool: str) -> int | None:
        """Slots of a pool in use, as the dispatcher counts them; None if unknown."""
        return self.observed.n_in_flight(pool, self.specs, {})

    @property
    def trouble(self) -> str:
        """Regions that are not reachable, and why; empty if all are."""
        return "; ".join(f"{region}: {reason}" for region, reason in self.observed.unreachable.items())


def label_of(model: str) -> str:
    """A model without its ARN: Bedrock may list the ARN of a model that was requested by id."""
    return model.rpartition("/")[2]


@dataclass
class InboxFiles:
    """Counts the files of inboxes."""

    specs: Sequence[InboxSpec]
    store: Store
    instance: DagsterInstance
    _rejections: dict[str, Rejections] = field(default_factory=dict)

    def read(self) -> Mapping[str, Mapping[str, int]]:
        """
        Files by inbox and state: `waiting`, `refused`.

        Raises:
            StoreError: The store cannot be read.
        """
        return {spec.name: self._count(spec) for spec in self.specs}

    def _count(self, spec: InboxSpec) -> Mapping[str, int]:
        rejections = self._rejections.setdefault(spec.name, Rejections.of(spec))
        rejections.refresh(self.instance)
        inbox_files = list_files(self.store, spec.dropped_to)
        n_refused = sum(rejections.reason(inbox_file) is not None for inbox_file in inbox_files)
        return {"waiting": len(inbox_files) - n_refused, "refused": n_refused}
