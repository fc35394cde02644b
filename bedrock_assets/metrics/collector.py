"""Collects the samples of a scrape for prometheus_client."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagster import DagsterInstance

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockAssetsError, BedrockUnavailable
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.observe import pool_limit
from bedrock_assets.metrics import gauges as m
from bedrock_assets.metrics.bedrock_counts import Cached, InboxFiles, JobCounts, label_of
from bedrock_assets.metrics.dagster_counts import (
    COST,
    OPEN,
    ROWS,
    STATES,
    TOKENS,
    PipelineLog,
    PipelineState,
    sensors_of,
)

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

TICK_STATUSES = ("started", "skipped", "success", "failure")


@dataclass
class Scrape:
    """The samples of one scrape, by metric."""

    gauges: "dict[m.Metric, GaugeMetricFamily]" = field(default_factory=lambda: {one: one.gauge() for one in m.METRICS})

    def add(self, metric: m.Metric, value: float, *labels: str) -> None:
        """Add a sample, with its labels in the metric's order."""
        self.gauges[metric].add_metric(labels, value)


@dataclass(eq=False)
class DeploymentCollector:
    """A collector of prometheus_client: it reads everything at each scrape, one scrape at a time."""

    specs: Sequence[WorkloadSpec]
    instance: DagsterInstance
    regions: Regions
    hold_s: float
    """Seconds for which answers of Bedrock and the store are reused."""
    warn: Callable[[str], None]
    """Called when a source can no longer be read, and when it can again."""
    patience_s: float = 4.0
    """Seconds that a scrape waits for Bedrock, and for the store; Prometheus gives up after 10."""
    _troubles: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._logs = [PipelineLog(spec.name, spec.key_prefix) for spec in self.specs]
        self._jobs = Cached(lambda: JobCounts.read(self.regions, self.specs), self.hold_s, self.patience_s)
        self._pools = sorted({pool for spec in self.specs for pool in spec.pools})
        inboxes = [spec for spec in self.specs if isinstance(spec, InboxSpec)]
        self._inboxes = [spec.name for spec in inboxes]
        self._files = Cached(InboxFiles(inboxes, self.regions.store, self.instance).read, self.hold_s, self.patience_s)

    def describe(self) -> "Iterator[GaugeMetricFamily]":
        """All metrics without samples; without this method, registering would read everything."""
        yield from (metric.gauge() for metric in m.METRICS)

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        """All samples. Those of a source that cannot be read are absent, and its `bedrock_assets_up` is 0."""
        with self._lock:
            scrape = Scrape()
            sources = {"dagster": self._dagster, "bedrock": self._bedrock}
            sources |= {"inboxes": self._inbox_files} if self._inboxes else {}
            for source, read in sources.items():
                scrape.add(m.UP, self._read(source, read, scrape), source)
        yield from scrape.gauges.values()

    def _read(self, source: str, read: Callable[[Scrape], None], scrape: Scrape) -> float:
        """1 if the source was read, else 0."""
        try:
            read(scrape)
        except Exception as error:  # Dagster's storages raise any error of their database; the endpoint must live on
            reason = str(error) if isinstance(error, BedrockAssetsError) else f"{type(error).__name__}: {error}"
            if source not in self._troubles:
                self.warn(f"{source} cannot be read, its metrics are left out: {reason}")
            self._troubles[source] = reason
            return 0.0
        if self._troubles.pop(source, None):
            self.warn(f"{source} can be read again")
        return 1.0

    def _dagster(self, scrape: Scrape) -> None:
        for spec, log in zip(self.specs, self._logs, strict=True):
            _add_pipeline(scrape, log.read(self.instance))
            if isinstance(spec, PipelineSpec) and spec.budget_usd is not None:
                scrape.add(m.BUDGET, spec.budget_usd, spec.name)
        for pool in self._pools:
            scrape.add(m.SLOTS, pool_limit(self.instance, pool, self.specs), pool)
        for sensor in sensors_of(self.instance, self._inboxes):
            scrape.add(m.SENSOR_ON, sensor.is_on, sensor.name)
            if sensor.ticked_at is not None:
                scrape.add(m.SENSOR_TICK, sensor.ticked_at, sensor.name)
                for status in TICK_STATUSES:
                    scrape.add(m.SENSOR_STATUS, status == sensor.status, sensor.name, status)

    def _bedrock(self, scrape: Scrape) -> None:
        jobs = self._jobs.get()
        by_status, records = jobs.by_status, jobs.records
        targets = {(spec.name, label_of(target.model)) for spec in self.specs for target in spec.targets}
        for pipeline, model in sorted(targets | {labels[:2] for labels in by_status}):
            for status in JobStatus:
                scrape.add(m.JOBS, by_status[pipeline, model, status.value], pipeline, model, status.value)
            for outcome in ("pending", "success", "error"):
                scrape.add(m.JOB_RECORDS, records[pipeline, model, outcome], pipeline, model, outcome)
        for pool in self._pools:
            if (n_taken := jobs.n_in_flight(pool)) is not None:
                scrape.add(m.SLOTS_TAKEN, n_taken, pool)
        if jobs.trouble:
            raise BedrockUnavailable(jobs.trouble)

    def _inbox_files(self, scrape: Scrape) -> None:
        for inbox, counts in self._files.get().items():
            for state, n_files in counts.items():
                scrape.add(m.INBOX, n_files, inbox, state)


def _add_pipeline(scrape: Scrape, state: PipelineState) -> None:
    name = state.pipeline
    for shard_state in STATES:
        scrape.add(m.SHARDS, state.shards[shard_state], name, shard_state)
    for request_state in RequestState:
        scrape.add(m.RECORDS, state.records[request_state], name, request_state.value)
    for open_state in OPEN:
        scrape.add(m.OLDEST, state.oldest_s[open_state], name, open_state.value)
    scrape.add(m.ON_HOLD, state.n_on_hold, name)
    scrape.add(m.RETRIED, state.n_retried, name)
    for status, key in ROWS.items():
        scrape.add(m.ROWS, state.answers[key], name, status)
    for direction, key in TOKENS.items():
        if key in state.answers:
            scrape.add(m.TOKENS, state.answers[key], name, direction)
    if COST in state.answers:
        scrape.add(m.COST, state.answers[COST], name)
