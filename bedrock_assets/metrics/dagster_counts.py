"""Counts of pipelines, inboxes and sensors, from Dagster. The event log is read from where the last scrape ended."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import DagsterInstance

from bedrock_assets.jobs.dagster_internals import InstigatorStatus, InstigatorType
from bedrock_assets.jobs.event_log import EventLogReader
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.partitions import shards_of
from bedrock_assets.jobs.shard_request import RequestStatus

NOT_ASKED = "not_asked"
STATES = (NOT_ASKED, *(state.value for state in RequestState))
OPEN = tuple(state for state in RequestState if state.is_open)
ROWS = {"ok": "n_ok", "error": "n_error", "missing": "n_missing"}
"""Status of a row, and the metadata that counts such rows."""
TOKENS = {"input": "input_tokens", "output": "output_tokens"}
COST = "cost_usd"
_SUMMED = frozenset({*ROWS.values(), *TOKENS.values(), COST})


@dataclass
class PipelineState:
    """The registered shards of one pipeline or inbox."""

    pipeline: str
    shards: Counter[str] = field(default_factory=Counter[str])
    """By state."""
    records: Counter[str] = field(default_factory=Counter[str])
    """Records to send, by state."""
    oldest_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(OPEN, 0.0))
    """Seconds that the oldest shard has been in its state, by open state."""
    n_on_hold: int = 0
    """Shards that are not submitted, because the dataset has changed since."""
    n_retried: int = 0
    """Shards in a second or later attempt."""
    answers: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_SUMMED - {COST}, 0.0))
    """Metadata of answered shards, summed; tokens or costs that one of them does not know are left out."""
    unknown: set[str] = field(default_factory=set[str])
    """Names that an answered shard lacks."""


@dataclass
class PipelineLog:
    """Reads one pipeline's part of the event log."""

    pipeline: str
    key_prefix: tuple[str, ...] = ()
    _answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ledger = Ledger(self.pipeline, self.key_prefix)
        self._reader = EventLogReader(self._ledger.asset_key)

    def read(self, instance: DagsterInstance) -> PipelineState:
        """
        Count the registered shards.

        Raises:
            Exception: Dagster's storage cannot be read.
        """
        self._ledger.refresh(instance)
        for logged in self._reader.read(instance).events:
            if logged.event.partition:
                self._answers[logged.event.partition] = {n: v for n, v in logged.metadata.items() if n in _SUMMED}
        state, now = PipelineState(self.pipeline), time.time()
        for key in shards_of(instance, self.pipeline):
            self._add_shard(state, key, now)
        state.answers = {name: value for name, value in state.answers.items() if name not in state.unknown}
        return state

    def _add_shard(self, totals: PipelineState, key: str, now: float) -> None:
        entry = self._ledger.entries.get(key)
        state = entry.state if entry else NOT_ASKED
        totals.shards[state] += 1
        if entry is None:
            return
        totals.records[state] += entry.request.n_records
        totals.n_retried += entry.request.attempt > 1
        if entry.state.is_open:
            totals.oldest_s[state] = max(totals.oldest_s[state], now - entry.at)
            if entry.job_arn is None:
                totals.n_on_hold += self._ledger.status_of(entry.request) is RequestStatus.ON_HOLD
        if entry.state is RequestState.ANSWERED:
            answers = self._answers.get(key, {})
            totals.unknown |= {name for name in (*TOKENS.values(), COST) if name not in answers}
            for name, value in answers.items():
                totals.answers[name] = totals.answers.get(name, 0.0) + float(value)


@dataclass(frozen=True)
class SensorState:
    """A sensor of a code location."""

    name: str
    is_on: bool
    ticked_at: float | None
    """Seconds since 1970; None before the first tick."""
    status: str
    """Status of the last tick: started, skipped, success, failure."""


def sensors_of(instance: DagsterInstance, inboxes: Sequence[str]) -> Iterator[SensorState]:
    """
    The sensors that work depends on. One that several code locations have is reported where it ticked last.

    Raises:
        Exception: Dagster's storage cannot be read.
    """
    names = {"bedrock_jobs_sensor", "joined_table_sensor"}
    names |= {f"{inbox}_files_sensor" for inbox in inboxes}
    latest: dict[str, SensorState] = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.instigator_name in names:
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
            at, status = (ticks[0].timestamp, ticks[0].status.value.lower()) if ticks else (None, "")
            sensor = SensorState(state.instigator_name, state.status is not InstigatorStatus.STOPPED, at, status)
            known = latest.get(sensor.name)
            if known is None or (sensor.ticked_at or 0) > (known.ticked_at or 0):
                latest[sensor.name] = sensor
    yield from latest.values()
