"""Puts what is read at a scrape into the form that prometheus_client serves."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagster import DagsterInstance

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec, WorkloadSpec
from bedrock_assets.errors import BedrockAssetsError, BedrockUnavailable
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.metrics import families as f
from bedrock_assets.metrics.outside import Cached, InboxFiles, JobCounts, label_of, limit_of
from bedrock_assets.metrics.state import COST, OPEN, ROWS, STATES, TOKENS, PipelineLog, PipelineState, sensors_of

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

TICK_STATUSES = ("started", "skipped", "success", "failure")


@dataclass
class Scrape:
    """The samples of one scrape, family by family."""

    gauges: "dict[f.Metric, GaugeMetricFamily]" = field(default_factory=lambda: {one: one.gauge() for one in f.METRICS})

    def add(self, family: f.Metric, value: float, *labels: str) -> None:
        """Add a sample; labels in the order of the family's."""
        self.gauges[family].add_metric(labels, value)


@dataclass(eq=False)
class DeploymentCollector:
    """A collector of prometheus_client: reads everything at each scrape, one scrape at a time."""

    specs: Sequence[WorkloadSpec]
    instance: DagsterInstance
    regions: Regions
    hold_s: float
    """Seconds for which what Bedrock and the store said holds."""
    tell: Callable[[str], None]
    """Is told when a source cannot be read any longer, and why, and when it can again."""
    patience_s: float = 4.0
    """Seconds that a scrape waits for Bedrock, and for the store; Prometheus gives up after 10."""
    _troubles: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._logs = [PipelineLog(spec.name) for spec in self.specs]
        self._jobs = Cached(lambda: JobCounts.ask(self.regions, self.specs), self.hold_s, self.patience_s)
        inboxes = [spec for spec in self.specs if isinstance(spec, InboxSpec)]
        self._inboxes = [spec.name for spec in inboxes]
        self._files = Cached(InboxFiles(inboxes, self.regions.store, self.instance).ask, self.hold_s, self.patience_s)

    def describe(self) -> "Iterator[GaugeMetricFamily]":
        """The families, so that nothing is read when the collector is registered."""
        yield from (family.gauge() for family in f.METRICS)

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        """All samples. A source that cannot be read leaves its own out, and is told by `bedrock_assets_up`."""
        with self._lock:
            scrape = Scrape()
            sources = {"dagster": self._dagster, "bedrock": self._bedrock}
            sources |= {"inboxes": self._inbox_files} if self._inboxes else {}
            for source, read in sources.items():
                scrape.add(f.UP, self._read(source, read, scrape), source)
        yield from scrape.gauges.values()

    def _read(self, source: str, read: Callable[[Scrape], None], scrape: Scrape) -> float:
        """1 if the source was read, else 0."""
        try:
            read(scrape)
        except Exception as error:  # Dagster's storages raise whatever their database does; the endpoint lives on
            reason = str(error) if isinstance(error, BedrockAssetsError) else f"{type(error).__name__}: {error}"
            if source not in self._troubles:
                self.tell(f"{source} cannot be read, its metrics are left out: {reason}")
            self._troubles[source] = reason
            return 0.0
        if self._troubles.pop(source, None):
            self.tell(f"{source} can be read again")
        return 1.0

    def _dagster(self, scrape: Scrape) -> None:
        for spec, log in zip(self.specs, self._logs, strict=True):
            _add_pipeline(scrape, log.look(self.instance))
            if isinstance(spec, PipelineSpec) and spec.budget_usd is not None:
                scrape.add(f.BUDGET, spec.budget_usd, spec.name)
        for pool in sorted({pool for spec in self.specs for pool in spec.pools}):
            scrape.add(f.SLOTS, limit_of(self.instance, self.specs, pool), pool)
        for sensor in sensors_of(self.instance, self._inboxes):
            scrape.add(f.SENSOR_ON, sensor.is_on, sensor.name)
            if sensor.ticked_at is not None:
                scrape.add(f.SENSOR_TICK, sensor.ticked_at, sensor.name)
                for status in TICK_STATUSES:
                    scrape.add(f.SENSOR_STATUS, status == sensor.status, sensor.name, status)

    def _bedrock(self, scrape: Scrape) -> None:
        jobs = self._jobs.get()
        by_status, records = jobs.by_status, jobs.records
        known = {(spec.name, label_of(target.model)) for spec in self.specs for target in spec.targets} | {
            who[:2] for who in by_status
        }
        for pipeline, model in sorted(known):
            for status in JobStatus:
                scrape.add(f.JOBS, by_status[pipeline, model, status.value], pipeline, model, status.value)
            for outcome in ("pending", "success", "error"):
                scrape.add(f.JOB_RECORDS, records[pipeline, model, outcome], pipeline, model, outcome)
        for pool in sorted({pool for spec in self.specs for pool in spec.pools}):
            if (taken := jobs.n_in_flight(pool)) is not None:
                scrape.add(f.SLOTS_TAKEN, taken, pool)
        if jobs.trouble:
            raise BedrockUnavailable(jobs.trouble)

    def _inbox_files(self, scrape: Scrape) -> None:
        for inbox, counts in self._files.get().items():
            for state, n_files in counts.items():
                scrape.add(f.INBOX, n_files, inbox, state)


def _add_pipeline(scrape: Scrape, found: PipelineState) -> None:
    name = found.pipeline
    for state in STATES:
        scrape.add(f.SHARDS, found.shards[state], name, state)
    for state in RequestState:
        scrape.add(f.RECORDS, found.records[state], name, state.value)
    for state in OPEN:
        scrape.add(f.OLDEST, found.oldest_s[state], name, state.value)
    scrape.add(f.HELD, found.n_held, name)
    scrape.add(f.AGAIN, found.n_again, name)
    for status, key in ROWS.items():
        scrape.add(f.ROWS, found.answers[key], name, status)
    for direction, key in TOKENS.items():
        scrape.add(f.TOKENS, found.answers[key], name, direction)
    if COST in found.answers:
        scrape.add(f.COST, found.answers[COST], name)
