"""The reconciler, a pure function: its promises hold for any state it may find."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.campaign import Job, JobStatus, Request
from bedrock_assets.reconcile import MOST_SUBMISSIONS, Action, Close, Collect, Stop, Submit, plan

IN_FLIGHT = [status for status in JobStatus if status.in_flight]
ENDED = [status for status in JobStatus if not status.in_flight]
Key = tuple[str, str]


def request(number: int, pipeline: str = "p", *, withdrawn: bool = False) -> Request:
    """A request for a shard of its own; higher numbers are later."""
    return Request(pipeline, f"{number:05d}", "f" * 16, 1, "key", 100, "run", storage_id=number, withdrawn=withdrawn)


def job(status: JobStatus) -> Job:
    """A job in a status."""
    return Job("arn:x/abc", "name", status, "model", datetime(2026, 11, 1, tzinfo=UTC))


def key(wanted: Request) -> Key:
    """Under what a request's job is known."""
    return wanted.pipeline, wanted.shard


@dataclass(frozen=True)
class World:
    """What the reconciler is told."""

    requests: list[Request]
    jobs: dict[Key, Job]
    n_foreign: int
    """Jobs in flight that are not of these requests."""
    n_slots: int
    collecting: set[str]
    leaving: set[str]

    @property
    def n_in_flight(self) -> int:
        """All jobs that take a slot."""
        return self.n_foreign + sum(found.status.in_flight for found in self.jobs.values())

    def plan(self) -> list[Action]:
        """The actions for this state."""
        return plan(
            self.requests,
            self.jobs,
            n_in_flight=self.n_in_flight,
            n_slots=self.n_slots,
            collecting=self.collecting,
            leave_cancelled=self.leaving,
        )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any mix of waiting, running, ended, withdrawn and collecting requests of three pipelines."""
    requests, jobs, collecting = [], {}, set()
    for number in range(draw(st.integers(0, 60))):
        made = request(number, draw(st.sampled_from("pqr")), withdrawn=draw(st.sampled_from([False, False, True])))
        requests.append(made)
        status = draw(st.one_of(st.none(), st.sampled_from(list(JobStatus))))
        if status is not None:
            jobs[key(made)] = job(status)
        if draw(st.booleans()):
            collecting.add(made.identity)
    shuffled = draw(st.permutations(requests))
    leaving = set(draw(st.sampled_from(["", "p", "pqr"])))
    return World(list(shuffled), jobs, draw(st.integers(0, 5)), draw(st.integers(0, 60)), collecting, leaving)


def submitted(actions: Sequence[Action]) -> list[Request]:
    """Requests whose jobs are to be created, in order."""
    return [action.request for action in actions if isinstance(action, Submit)]


@given(worlds())
def test_the_cap_holds(world: World) -> None:
    """Whatever is in flight, whoever's it is, no more is submitted than slots are free and a tick bears."""
    n_submitted = len(submitted(world.plan()))
    assert n_submitted <= max(0, world.n_slots - world.n_in_flight)
    assert n_submitted <= MOST_SUBMISSIONS


@given(worlds())
def test_free_slots_are_used(world: World) -> None:
    """Every free slot is filled as long as something waits."""
    n_waiting = sum(key(wanted) not in world.jobs and not wanted.withdrawn for wanted in world.requests)
    n_free = max(0, world.n_slots - world.n_in_flight)
    assert len(submitted(world.plan())) == min(n_waiting, n_free, MOST_SUBMISSIONS)


@given(worlds())
def test_nothing_is_submitted_twice(world: World) -> None:
    """A request that has a job, in whatever status, or is withdrawn, is not submitted; no request has two actions."""
    actions = world.plan()
    assert all(key(wanted) not in world.jobs and not wanted.withdrawn for wanted in submitted(actions))
    assert max(Counter(action.request.identity for action in actions).values(), default=1) == 1


@given(worlds())
def test_ended_jobs_are_collected_once(world: World) -> None:
    """An ended job is collected unless its collect run is under way, or its request withdrawn for good."""
    expected = {
        wanted.identity
        for wanted in world.requests
        if (found := world.jobs.get(key(wanted))) is not None
        and found.status in ENDED
        and wanted.identity not in world.collecting
        and (not wanted.withdrawn or wanted.pipeline in world.leaving)
    }
    assert {action.request.identity for action in world.plan() if isinstance(action, Collect)} == expected


@given(worlds())
def test_withdrawn_requests_are_stopped_or_closed(world: World) -> None:
    """A withdrawn request's job in flight is stopped once, an ended or missing one closed, unless jobs are left."""
    stopped = {action.request.identity for action in world.plan() if isinstance(action, Stop)}
    closed = {action.request.identity for action in world.plan() if isinstance(action, Close)}
    for wanted in world.requests:
        found, left = world.jobs.get(key(wanted)), wanted.pipeline in world.leaving
        running = found is not None and found.status.in_flight
        stopping = found is not None and found.status is JobStatus.STOPPING
        assert (wanted.identity in stopped) == (wanted.withdrawn and running and not stopping and not left)
        assert (wanted.identity in closed) == (wanted.withdrawn and not running and (found is None or not left))


@given(worlds())
def test_slots_are_shared(world: World) -> None:
    """No pipeline is given a slot while another one that waits has two jobs fewer; each takes its oldest first."""
    taken = submitted(world.plan())
    left = [w for w in world.requests if key(w) not in world.jobs and not w.withdrawn and w not in taken]
    busy = Counter(w.pipeline for w in world.requests if key(w) in world.jobs and world.jobs[key(w)].status.in_flight)
    busy.update(wanted.pipeline for wanted in taken)
    for waiting in left:
        assert all(busy[wanted.pipeline] <= busy[waiting.pipeline] + 1 for wanted in taken)
        own = [wanted.storage_id for wanted in taken if wanted.pipeline == waiting.pipeline]
        assert all(storage_id < waiting.storage_id for storage_id in own)


@given(worlds(), st.randoms())
def test_the_order_of_reading_does_not_matter(world: World, chance: random.Random) -> None:
    """The same state read in another order gives the same actions."""
    again = replace(world, requests=chance.sample(world.requests, len(world.requests)))
    assert again.plan() == world.plan()


def test_two_pipelines_take_turns() -> None:
    """A small pipeline that comes after a large one gets every other slot."""
    large, small = [request(i, "large") for i in range(100)], [request(200 + i, "small") for i in range(3)]
    actions = plan([*large, *small], {}, n_in_flight=0, n_slots=8)
    assert [wanted.pipeline for wanted in submitted(actions)] == ["large", "small"] * 3 + ["large"] * 2


def test_a_tick_ends_in_time() -> None:
    """With more free slots than a tick bears, the oldest requests are submitted and the rest is left to the next."""
    requests = [request(i) for i in range(3 * MOST_SUBMISSIONS)]
    assert submitted(plan(requests, {}, n_in_flight=0, n_slots=10_000)) == requests[:MOST_SUBMISSIONS]


def test_a_lower_limit_stops_nothing() -> None:
    """When the limit falls below what is in flight, jobs go on and nothing is submitted."""
    requests = [request(i) for i in range(6)]
    jobs = {key(wanted): job(JobStatus.IN_PROGRESS) for wanted in requests[:4]}
    assert plan(requests, jobs, n_in_flight=4, n_slots=2) == []


@given(n=st.integers(1, 50), n_slots=st.integers(1, 7), chance=st.randoms())
def test_everything_is_done_in_the_end(n: int, n_slots: int, chance: random.Random) -> None:
    """Played tick by tick with jobs that end at random, every request gets one job and is collected, under the cap."""
    open_requests = {key(made): made for made in (request(i, chance.choice("pq")) for i in range(n))}
    jobs: dict[Key, Job] = {}
    created = Counter[Key]()
    while open_requests:
        flying = [k for k, found in jobs.items() if found.status.in_flight]
        assert len(flying) <= n_slots
        for ended in chance.sample(flying, chance.randint(min(1, len(flying)), len(flying))):
            jobs[ended] = job(chance.choice(ENDED))
        n_in_flight = sum(found.status.in_flight for found in jobs.values())
        actions = plan(list(open_requests.values()), jobs, n_in_flight=n_in_flight, n_slots=n_slots)
        assert actions or n_in_flight, "a tick without progress would be followed by another"
        for action in actions:
            if isinstance(action, Submit):
                jobs[key(action.request)] = job(chance.choice(IN_FLIGHT))
                created[key(action.request)] += 1
            else:
                assert isinstance(action, Collect)
                del open_requests[key(action.request)]
    assert set(created.values()) == {1}
    assert len(created) == n
