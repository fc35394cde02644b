"""A whole campaign on the reconciler with a clock that jumps: jobs of hours, ticks of seconds, days in a minute."""

import heapq
import random
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from math import ceil, exp

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.jobs.observe import MAX_NAME_LOOKUPS
from bedrock_assets.jobs.reconcile import MAX_SUBMISSIONS, Collect, Submit, plan
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.limits import LIST_PAGE_SIZE, MAX_TIMEOUT_HOURS
from tests.labs.promises import capacity

H = 3600.0
LOOK_BACK_S = (MAX_TIMEOUT_HOURS + 24) * H
"""A tick lists the jobs created since; as in `dispatch`."""
LIST_S, CREATE_S = 1.0, 0.5
"""What one page of a list and one Create take of a tick."""
COLLECT_S = (30.0, 120.0)
"""A collect run takes anything between: the start of a process, then reading and writing."""
MOST_ATTEMPTS = 5
_START = datetime(2026, 11, 1, tzinfo=UTC)
_SENT_AGAIN = (JobStatus.PARTIALLY_COMPLETED, JobStatus.FAILED)

Chain = list[tuple[float, JobStatus]]
"""Of a shard the jobs it takes: each one's duration in seconds, and how it ends."""


@dataclass(frozen=True)
class Setting:
    """What is simulated."""

    n_shards: int = 10_000
    n_slots: int = 100
    job_h: float = 9.0
    """Mean duration of a job, from Create to its end."""
    spread: float = 0.25
    """Sigma of the lognormal distribution of durations: two of three jobs are within about that share of the mean."""
    tick_s: float = 30.0
    seed: int = 1
    n_pipelines: int = 1
    """They share the pool; shards are dealt out in blocks, the first pipeline's are asked for first."""
    partial: float = 0.0
    """Share of jobs that end as PartiallyCompleted; what is left, a tenth to a half, is a next attempt."""
    failed: float = 0.0
    """Share of jobs that fail somewhere on the way and are launched again at once."""

    def chains(self) -> list[Chain]:
        """The jobs of every shard; the same for the same seed, whatever the schedule."""
        chance = random.Random(self.seed)  # noqa: S311 - a simulation
        return [self._chain(chance) for _ in range(self.n_shards)]

    def _chain(self, chance: random.Random) -> Chain:
        chain: Chain = []
        share = 1.0
        while True:
            seconds = self.job_h * H * share * chance.lognormvariate(0, self.spread) / exp(self.spread**2 / 2)
            fate = chance.random() if len(chain) < MOST_ATTEMPTS - 1 else 1.0
            if fate >= self.failed + self.partial:
                return [*chain, (seconds, JobStatus.COMPLETED)]
            if fate < self.failed:
                chain.append((seconds * chance.random(), JobStatus.FAILED))
            else:
                chain.append((seconds, JobStatus.PARTIALLY_COMPLETED))
                share *= chance.uniform(0.1, 0.5)


def list_schedule_s(chains: Iterable[Chain], n_slots: int) -> float:
    """
    Makespan of a scheduler that sees an end the moment it happens and needs no time to submit, in the order given.

    A shard's next attempt waits behind those that are waiting already.
    """
    queue = deque((chain, 0) for chain in chains)
    running: list[tuple[float, int, Chain, int]] = []
    now, tie = 0.0, count()
    while queue or running:
        while queue and len(running) < n_slots:
            chain, number = queue.popleft()
            heapq.heappush(running, (now + chain[number][0], next(tie), chain, number))
        now, _, chain, number = heapq.heappop(running)
        if number + 1 < len(chain):
            queue.append((chain, number + 1))
    return now


@dataclass
class Simulation:
    """One campaign; `run` plays it, the other fields tell of it afterwards."""

    setting: Setting
    chains: list[Chain]
    makespan_s: float = 0.0
    finished_s: dict[str, float] = field(default_factory=dict)
    """When the last shard of each pipeline was done."""
    created: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Jobs of each pipeline, shard and attempt."""
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    most_in_flight: int = 0
    n_ticks: int = 0
    pages: Counter[int] = field(default_factory=Counter)
    """Ticks by the number of pages of recent jobs they listed."""
    searches: Counter[int] = field(default_factory=Counter)
    """Ticks by the number of pages they read to look for jobs of requests never seen before."""
    creates: Counter[int] = field(default_factory=Counter)
    """Ticks by the number of Create calls."""
    plan_s: list[float] = field(default_factory=list)
    changes: list[tuple[float, int, int]] = field(default_factory=list)
    """Time in seconds, change of the number of jobs in flight, change of the number of requests that wait."""
    _open: dict[str, Request] = field(default_factory=dict)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _events: list[tuple[float, int, str]] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=deque)
    _unseen: Counter[str] = field(default_factory=Counter)
    """Pipelines with requests that no tick has seen yet."""
    _n_in_flight: int = 0
    _ids: Iterator[int] = field(default_factory=count)

    def run(self) -> "Simulation":
        """Play until every shard is answered. Ticks at which nothing can have changed are counted, not computed."""
        self._launch()
        number = 0
        while self._open:
            now = number * self.setting.tick_s
            self._advance(now)
            busy_s, full = self._tick(now)
            following = number + max(1, ceil(busy_s / self.setting.tick_s))
            if not full and self._events:
                following = max(following, ceil(self._events[0][0] / self.setting.tick_s))
            self._skip(now, following - number - 1)
            number = following
        return self

    def _launch(self) -> None:
        size = ceil(self.setting.n_shards / self.setting.n_pipelines)
        for number in range(self.setting.n_shards):
            shard = f"{number:05d}-of-{self.setting.n_shards:05d}"
            self._ask(0.0, Request(f"p{number // size}", shard, "f" * 16, 1, "key", 50_000, "run"))

    def _ask(self, now: float, request: Request) -> None:
        request = replace(request, storage_id=next(self._ids))
        self._open[request.identity] = request
        self._unseen[request.pipeline] += 1
        self.changes.append((now, 0, 1))

    def _advance(self, now: float) -> None:
        """Jobs and collect runs end that have ended by now."""
        while self._events and self._events[0][0] <= now:
            at, _, identity = heapq.heappop(self._events)
            request = self._open[identity]
            if identity in self._running:
                self._end_run(at, request)
            else:
                self._jobs[identity] = replace(self._jobs[identity], status=self._fate(request)[1])
                self._n_in_flight -= 1
                self.changes.append((at, -1, 0))

    def _fate(self, request: Request) -> tuple[float, JobStatus]:
        return self.chains[int(request.shard[:5])][request.attempt - 1]

    def _end_run(self, at: float, request: Request) -> None:
        self._running.remove(request.identity)
        del self._open[request.identity]
        status = self._jobs.pop(request.identity).status
        if status in _SENT_AGAIN:
            self._ask(at, replace(request, attempt=request.attempt + 1))
        else:
            self.answered[request.pipeline, request.shard] += 1
            self.finished_s[request.pipeline] = self.makespan_s = at

    def _tick(self, now: float) -> tuple[float, bool]:
        """Seconds that the tick takes, and whether it submitted all it may."""
        busy_s = LIST_S * self._list(now)
        requests = list(self._open.values())
        started = time.perf_counter()
        actions = list(
            plan(
                requests,
                self._jobs,
                capacity(self.setting.n_slots - self._n_in_flight, [f"p{i}" for i in range(self.setting.n_pipelines)]),
                collecting=self._running,
            )
        )
        self.plan_s.append(time.perf_counter() - started)
        n_created = 0
        for action in actions:
            if isinstance(action, Submit):
                n_created, busy_s = n_created + 1, busy_s + CREATE_S
                self._create(now + busy_s, action.request)
            elif isinstance(action, Collect):
                self._running.add(action.request.identity)
                seconds = random.Random(action.request.identity).uniform(*COLLECT_S)  # noqa: S311 - a simulation
                heapq.heappush(self._events, (now + busy_s + seconds, next(self._ids), action.request.identity))
        self.creates[n_created] += 1
        return busy_s, n_created == MAX_SUBMISSIONS

    def _create(self, at: float, request: Request) -> None:
        job = Job(f"arn:x/{next(self._ids)}", "name", JobStatus.IN_PROGRESS, "m", _START + timedelta(seconds=at))
        self._jobs[request.identity] = job
        self._n_in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._n_in_flight)
        self._recent.append(at)
        self.created[request.pipeline, request.shard, request.attempt] += 1
        self.changes.append((at, 1, -1))
        heapq.heappush(self._events, (at + self._fate(request)[0], next(self._ids), request.identity))

    def _list(self, now: float) -> int:
        """Pages that a tick reads: the recent jobs, and once for new requests their own, or all of their pipelines."""
        while self._recent and self._recent[0] < now - LOOK_BACK_S:
            self._recent.popleft()
        n_recent = max(1, ceil(len(self._recent) / LIST_PAGE_SIZE))
        ever = Counter(pipeline for pipeline, _, _ in self.created) if self._unseen else Counter[str]()
        n_searched = sum(
            n if n <= MAX_NAME_LOOKUPS else max(1, ceil(ever[pipeline] / LIST_PAGE_SIZE))
            for pipeline, n in self._unseen.items()
        )
        self._unseen.clear()
        self.pages[n_recent] += 1
        self.searches[n_searched] += 1
        self.n_ticks += 1
        return n_recent + n_searched

    def _skip(self, now: float, n_ticks: int) -> None:
        """Count ticks that list and find nothing to do; jobs that fall out of the list meanwhile are counted on."""
        self.pages[max(1, ceil(len(self._recent) / LIST_PAGE_SIZE))] += n_ticks
        self.searches[0] += n_ticks
        self.creates[0] += n_ticks
        self.n_ticks += n_ticks
