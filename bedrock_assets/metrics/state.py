"""What Dagster knows of pipelines, inboxes, pools and sensors, as numbers. The log is read on from the last look."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import DagsterInstance
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType

from bedrock_assets.jobs.event_log import EventLogReader
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.partitions import shards_of
from bedrock_assets.jobs.request import RequestStatus

NOT_ASKED = "not_asked"
STATES = (NOT_ASKED, *(state.value for state in RequestState))
OPEN = tuple(state for state in RequestState if state.is_open)
ROWS = {"ok": "n_ok", "error": "n_error", "missing": "n_missing"}
"""Status of a row, and the metadata that counts them."""
TOKENS = {"input": "input_tokens", "output": "output_tokens"}
COST = "cost_usd"
_ADDED = frozenset({*ROWS.values(), *TOKENS.values(), COST})


@dataclass
class PipelineState:
    """The shards of one pipeline or inbox that are registered now."""

    pipeline: str
    shards: Counter[str] = field(default_factory=Counter[str])
    """By state."""
    records: Counter[str] = field(default_factory=Counter[str])
    """To send, by state."""
    oldest_s: dict[str, float] = field(default_factory=dict)
    """By open state, seconds for which the shard that is in it longest has been."""
    n_held: int = 0
    """Shards that are not submitted, because the dataset has changed since."""
    n_again: int = 0
    """Shards in a second or later attempt."""
    answers: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_ADDED - {COST}, 0.0))
    """Of the answered ones: metadata of their answers, added up; no `cost_usd` where the price is not known."""


@dataclass
class PipelineLog:
    """Reads one pipeline's part of the event log."""

    pipeline: str
    _answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ledger = Ledger(self.pipeline)
        self._tail = EventLogReader(self._ledger.asset_key)

    def look(self, instance: DagsterInstance) -> PipelineState:
        """
        Raises:
            Exception: What Dagster's storage raises when it cannot be read.
        """
        self._ledger.refresh(instance)
        for told in self._tail.read(instance):
            if told.event.partition:
                self._answers[told.event.partition] = {n: v for n, v in told.metadata.items() if n in _ADDED}
        found, now = PipelineState(self.pipeline, oldest_s=dict.fromkeys(OPEN, 0.0)), time.time()
        for key in shards_of(instance, self.pipeline):
            self._add(found, key, now)
        return found

    def _add(self, found: PipelineState, key: str, now: float) -> None:
        entry = self._ledger.entries.get(key)
        state = entry.state if entry else NOT_ASKED
        found.shards[state] += 1
        if entry is None:
            return
        found.records[state] += entry.request.n_records
        found.n_again += entry.request.attempt > 1
        if entry.state.is_open:
            found.oldest_s[state] = max(found.oldest_s[state], now - entry.at)
            found.n_held += entry.job_arn is None and self._ledger.status_of(entry.request) is RequestStatus.ON_HOLD
        if entry.state is RequestState.ANSWERED:
            for name, value in self._answers.get(key, {}).items():
                found.answers[name] = found.answers.get(name, 0.0) + float(value)


@dataclass(frozen=True)
class SensorState:
    """A sensor of a code location."""

    name: str
    is_on: bool
    ticked_at: float | None
    """Seconds since 1970; None before the first tick."""
    status: str
    """Of the last tick: started, skipped, success, failure."""


def sensors_of(instance: DagsterInstance, inboxes: Sequence[str]) -> Iterator[SensorState]:
    """
    The sensors that work depends on. One that stands in several code locations is told of where it ticked last.

    Raises:
        Exception: What Dagster's storage raises when it cannot be read.
    """
    names = {"bedrock_jobs_sensor", "joined_table_sensor", *(f"{inbox}_files_sensor" for inbox in inboxes)}
    found: dict[str, SensorState] = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.instigator_name in names:
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
            at, status = (ticks[0].timestamp, ticks[0].status.value.lower()) if ticks else (None, "")
            told = SensorState(state.instigator_name, state.status is not InstigatorStatus.STOPPED, at, status)
            known = found.get(told.name)
            if known is None or (told.ticked_at or 0) > (known.ticked_at or 0):
                found[told.name] = told
    yield from found.values()
