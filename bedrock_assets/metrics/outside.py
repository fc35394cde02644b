"""What is asked of others, over the network: Bedrock's jobs and the files of inboxes. Asked no more often than told."""

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
from bedrock_assets.config.pipeline import WorkloadSpec
from bedrock_assets.inbox.files import list_files
from bedrock_assets.inbox.rejections import Rejections
from bedrock_assets.jobs.observe import ObservedJobs, pool_limit
from bedrock_assets.jobs.request import name_prefix
from bedrock_assets.storage.store import Store

T = TypeVar("T")
GRACE_S = 60
"""While a slow answer is waited for, the one before it is told for so long."""
OTHERS = "(other)"
"""Stands for whoever sent a job that is none of these pipelines'."""


@dataclass
class Cached(Generic[T]):
    """What was asked last, for as long as it holds; asked on a thread of its own, as Prometheus does not wait long."""

    ask: Callable[[], T]
    hold_s: float
    patience_s: float
    """Seconds to wait for an answer; one that comes later is there for the next scrape."""
    _thread: threading.Thread | None = None
    _at: float | None = None
    _answers: list[T] = field(default_factory=list)
    _error: Exception | None = None

    def get(self) -> T:
        """
        Raises:
            TimeoutError: There is no answer yet, nor one that was good a minute ago.
            Exception: What *ask* raised when it was asked last.
        """
        age_s = inf if self._at is None else time.monotonic() - self._at
        if self._thread is None and age_s >= self.hold_s:
            self._thread = threading.Thread(target=self._ask, daemon=True)
            self._thread.start()
        if self._thread is not None:
            self._thread.join(self.patience_s)
            if self._thread.is_alive() and self._error is None and age_s < self.hold_s + GRACE_S:
                return self._answers[0]
            if self._thread.is_alive():
                raise TimeoutError(f"no answer within {self.patience_s:g} s")
            self._thread = None
        if self._error is not None:
            raise self._error
        return self._answers[0]

    def _ask(self) -> None:
        try:
            self._answers, self._error = [self.ask()], None
        except Exception as error:  # raised by whoever gets it
            self._error = error
        self._at = time.monotonic()


@dataclass(frozen=True)
class JobCounts:
    """Bedrock's jobs of the last days, of everybody, in each account and Region that is used."""

    jobs: Sequence[Job]
    specs: Sequence[WorkloadSpec]
    observed: ObservedJobs

    @classmethod
    def ask(cls, regions: Regions, specs: Sequence[WorkloadSpec]) -> "JobCounts":
        """
        Raises:
            BedrockError: Bedrock cannot be asked anywhere now, or may not be.
        """
        observed = ObservedJobs.observe(regions, specs)
        return cls([job for jobs in observed.recent.values() for job in jobs.values()], specs, observed)

    def pipeline_of(self, job: Job) -> str:
        """Who sent a job, by its name; two pipelines whose names begin alike for 23 characters are told as one."""
        fitting = [spec.name for spec in self.specs if job.name.startswith(name_prefix(spec.name))]
        return max(fitting, key=len, default=OTHERS)

    @property
    def by_status(self) -> Counter[tuple[str, str, str]]:
        """Jobs by pipeline, model and status."""
        return Counter((self.pipeline_of(job), label_of(job.model), job.status.value) for job in self.jobs)

    @property
    def records(self) -> Counter[tuple[str, str, str]]:
        """Records of jobs in flight by pipeline, model and outcome: `pending`, `success`, `error`."""
        found = Counter[tuple[str, str, str]]()
        for job in self.jobs:
            if job.status.in_flight:
                who = (self.pipeline_of(job), label_of(job.model))
                found[*who, "pending"] += max(0, job.n_total - job.n_processed)
                found[*who, "success"] += job.n_success
                found[*who, "error"] += job.n_error
        return found

    def n_in_flight(self, pool: str) -> int | None:
        """Jobs that take a slot of a pool, as the dispatcher counts them; None where nobody knows now."""
        return self.observed.n_in_flight(pool, self.specs, {})

    @property
    def trouble(self) -> str:
        """Which Regions could not be asked, and why; empty if all could."""
        return "; ".join(f"{region}: {reason}" for region, reason in self.observed.unreachable.items())


def label_of(model: str) -> str:
    """A model without its ARN: Bedrock tells the ARN of some that were asked for by their id."""
    return model.rpartition("/")[2]


def limit_of(instance: DagsterInstance, specs: Sequence[WorkloadSpec], pool: str) -> int:
    """
    The limit of a pool, as the dispatcher reads it.

    Raises:
        Exception: What Dagster's storage raises when it cannot be read.
    """
    return pool_limit(instance, pool, specs)


@dataclass
class InboxFiles:
    """The folders of inboxes."""

    specs: Sequence[InboxSpec]
    store: Store
    instance: DagsterInstance
    _rejections: dict[str, Rejections] = field(default_factory=dict)

    def ask(self) -> Mapping[str, Mapping[str, int]]:
        """
        Files by inbox and state: `waiting`, `refused`.

        Raises:
            StoreError: The store cannot be read.
        """
        return {spec.name: self._count(spec) for spec in self.specs}

    def _count(self, spec: InboxSpec) -> Mapping[str, int]:
        rejections = self._rejections.setdefault(spec.name, Rejections(spec.name))
        rejections.refresh(self.instance)
        inbox_files = list_files(self.store, spec.dropped_to)
        n_refused = sum(rejections.reason(inbox_file) is not None for inbox_file in inbox_files)
        return {"waiting": len(inbox_files) - n_refused, "refused": n_refused}
