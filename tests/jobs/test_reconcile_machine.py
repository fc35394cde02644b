"""Whole campaigns in every order of events and accidents: what the reconciler promises holds after each step."""

from collections import Counter
from math import ceil
from typing import ClassVar

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.jobs.reconcile import MAX_SUBMISSIONS, Action, Close, Collect, Invoke, Stop, Submit
from bedrock_assets.jobs.shard_request import RequestStatus
from tests.labs.promises import DISMISSED, PROMISES, Situation, asked, content
from tests.labs.reconciler_world import ADOPTED, MOST_ATTEMPTS, REST, RUN_TRIES, Fault, World, name_of

MOST_LAG = 3
ENDED = [status for status in JobStatus if not status.in_flight]
MOMENTS = {
    *(f"create {fault}" for fault in Fault),
    *(f"launched again after {outcome}" for outcome in ("open", "answered", "failed", "withdrawn")),
    *(f"stopped a {status} job" for status in DISMISSED),
    *(f"closed a {status} request without a job" for status in DISMISSED),
    *(f"closed a {status} request with an ended job" for status in DISMISSED),
    *(f"left a {status} job" for status in DISMISSED),
    *(f"collected a job that ended as {status}" for status in ENDED),
    *(f"collected for a {status} request" for status in (RequestStatus.ON_HOLD, RequestStatus.WITHDRAWN)),
    "a held request waited beside a free slot",
    "a job passed to a later request",
    "a run was waited for",
    ADOPTED,
    "answered in part",
    "asked again for the same",
    "asked for new prompts",
    "closed before its job was listed",
    "gave up after crashes",
    "invoked",
    "more in flight than the limit",
    "pipelines competed",
    "run crashed",
    "run of a stale request",
    "submitted the most of a tick",
    "waited with no slot at all",
}
"""What the campaigns must come upon, or they prove nothing of it."""


class Campaign(RuleBasedStateMachine):
    """Up to three pipelines that share a pool, and all that may happen to them."""

    seen: ClassVar[Counter[str]] = Counter()

    @initialize(
        n_pipelines=st.integers(1, 3),
        limit=st.sampled_from([1, 2, 3, 5, 8, 100]),
        lag=st.sampled_from([0, 1, MOST_LAG]),
        leave_cancelled=st.frozensets(st.sampled_from("pqr")),
        leave_stale=st.frozensets(st.sampled_from("pqr")),
    )
    def start(
        self, n_pipelines: int, limit: int, lag: int, leave_cancelled: frozenset[str], leave_stale: frozenset[str]
    ) -> None:
        """A quiet world."""
        self.world = World(limit, lag, leave_cancelled, leave_stale)
        self.pipelines = "pqr"[:n_pipelines]
        self.steady = True

    def pick(self, number: int) -> str:
        """One of the pipelines."""
        return self.pipelines[number % len(self.pipelines)]

    @rule(number=st.integers(0, 2), first=st.integers(0, 3), n=st.sampled_from([1, 1, 2, 4, 4, MAX_SUBMISSIONS + 5]))
    def somebody_launches(self, number: int, first: int, n: int) -> None:
        """A run asks for shards, new ones or any that were asked for before."""
        run_id = f"run{len(self.world.runs)}"
        self.world.runs.append(run_id)
        for shard in range(first, first + n):
            self.world.launch(self.pick(number), f"{shard:05d}", run_id)

    @rule(fault=st.sampled_from([None, *Fault]), healthy=st.sampled_from([0, 0, 1, 3]))
    def tick(self, fault: Fault | None, healthy: int) -> None:
        """One tick; the promises hold for it, and with no fault nothing that could be done is left."""
        world = self.world
        world.now += 1
        told, before = world.look(), len(world.bedrock.in_flight)
        actions = told.plan()
        for promise in PROMISES:
            promise(told, actions)
        stopped = {action.job.name for action in actions if isinstance(action, Stop)}
        assert not stopped & {name_of(request) for request in told.requests if request.status not in DISMISSED}
        self._remember(told, actions)
        n_unseen = before - told.n_in_flight
        self.steady &= not n_unseen
        n_adopted = world.moments[ADOPTED]
        world.carry_out(actions, fault, healthy)
        assert len(world.bedrock.in_flight) <= max(told.n_slots, before) + n_unseen
        left = world.look()
        if fault is None and world.moments[ADOPTED] == n_adopted and len(asked(actions, Submit)) < MAX_SUBMISSIONS:
            assert not left.waiting or not left.n_free

    @rule(
        n=st.sampled_from([1, 2, RUN_TRIES * (REST + 2)]),
        crash=st.sampled_from([False, False, True]),
        on_demand=st.booleans(),
    )
    def hours_pass(self, n: int, crash: bool, on_demand: bool) -> None:
        """Some ticks without an accident at Bedrock; all runs come to their end in between, or all crash."""
        for _ in range(n):
            self.tick(None, 0)
            self.runs_end(crash=crash, on_demand=on_demand, n=len(self.world.opened))

    @precondition(lambda self: self.world.bedrock.in_flight)
    @rule(moves=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(JobStatus)), min_size=1, max_size=6))
    def jobs_move(self, moves: list[tuple[int, JobStatus]]) -> None:
        """Jobs take a step, or end."""
        for number, status in moves:
            if flying := self.world.bedrock.in_flight:
                flying[number % len(flying)].move(status)

    @precondition(lambda self: self.world.bedrock.in_flight)
    @rule(status=st.sampled_from(ENDED))
    def jobs_end(self, status: JobStatus) -> None:
        """All jobs in flight end in the same way, or are stopped."""
        for fake in self.world.bedrock.in_flight:
            fake.move(status) or fake.move(JobStatus.STOPPED)

    @precondition(lambda self: any(entry.running for entry in self.world.opened.values()))
    @rule(crash=st.booleans(), on_demand=st.booleans(), n=st.sampled_from([1, 2, 100]))
    def runs_end(self, crash: bool, on_demand: bool, n: int) -> None:
        """The oldest runs of requests end or crash."""
        for entry in [entry for entry in self.world.opened.values() if entry.running][:n]:
            self.world.end_run(entry, crash=crash, on_demand=on_demand)

    @precondition(lambda self: self.world.runs)
    @rule(number=st.integers(0, 9))
    def somebody_cancels(self, number: int) -> None:
        """A run that asked is cancelled; mostly one of the latest."""
        runs = self.world.runs
        self.world.cancelled.add(runs[-1 - number % len(runs)])

    @rule(limit=st.sampled_from([0, 1, 2, 4, 7, 60]))
    def the_limit_changes(self, limit: int) -> None:
        """Somebody sets the pool's limit."""
        self.world.limit, self.steady = limit, False

    @rule(n=st.integers(1, 4))
    def others_submit(self, n: int) -> None:
        """Other people's jobs take slots."""
        self.steady = False
        for _ in range(n):
            self.world.bedrock.create(f"theirs-{len(self.world.bedrock.jobs)}", None, self.world.now, 0)

    @rule(number=st.integers(0, 2))
    def a_dataset_changes(self, number: int) -> None:
        """The prompts of a pipeline are not of its dataset any longer."""
        self.world.held.add(self.pick(number))

    @rule(number=st.integers(0, 2), shards=st.sets(st.integers(0, 3)))
    def prompts_are_made(self, number: int, shards: set[int]) -> None:
        """Prompts are made anew; those of some shards are others than before, or again those of long ago."""
        pipeline = self.pick(number)
        self.world.held.discard(pipeline)
        for shard in shards:
            self.world.prompts[pipeline, f"{shard:05d}"] ^= 1

    @rule(number=st.integers(0, 2), shards=st.sets(st.integers(0, 3), min_size=1), ticks=st.integers(0, 1))
    def prompts_are_made_and_sent(self, number: int, shards: set[int], ticks: int) -> None:
        """Shards are launched together with their prompts, mostly while the former ones are under way."""
        self.prompts_are_made(number, shards)
        self.somebody_launches(number, min(shards), len(shards))
        for _ in range(ticks):
            self.tick(None, 0)

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        """Bedrock has one job at most for the same shard, prompts and attempt."""
        paid = Counter(fake.content for fake in self.world.bedrock.jobs if fake.content)
        assert max(paid.values(), default=1) == 1

    @invariant()
    def the_cap_holds(self) -> None:
        """With a limit that never changed, nobody else's jobs and none unseen, the jobs in flight are within it."""
        assert not self.steady or len(self.world.bedrock.in_flight) <= self.world.limit

    def teardown(self) -> None:
        """
        With the accidents over, every request is closed in time, and no job that nobody wants is left.

        The time: a tick fills all slots unless nothing waits, so there are `n_jobs / width` ticks that fill them and
        as many others as the longest chain of one request has steps: to be listed, to rest, to be stopped and closed,
        and twice for each attempt, to submit and to collect.
        """
        if not hasattr(self, "world"):
            return
        world = self.world
        world.lag, world.limit, self.steady = 0, max(5, world.limit), False
        world.held.clear()
        width = min(world.limit, MAX_SUBMISSIONS)
        n_ticks = ceil(MOST_ATTEMPTS * len(world.opened) / width) + MOST_LAG + REST + 3 + 2 * MOST_ATTEMPTS
        for _ in range(n_ticks):
            self._end_what_ends()
            self.tick(None, 0)
            self.runs_end(crash=False, on_demand=False, n=len(world.opened))
        assert not world.opened
        self._end_what_ends()
        assert not world.bedrock.in_flight
        for moment in world.moments:
            event(moment)
        Campaign.seen.update(world.moments)

    def _end_what_ends(self) -> None:
        """Jobs end that are wanted, left, stopping or others'; one that is to be stopped would go on for ever."""
        told = self.world.look()
        wanted = {content(r) for r in told.requests if r.status not in DISMISSED or told.left(r)}
        for fake in self.world.bedrock.in_flight:
            if fake.content is None or fake.content in wanted or fake.orphaned:
                fake.move(JobStatus.COMPLETED)
            elif fake.job.status is JobStatus.STOPPING:
                fake.move(JobStatus.STOPPED)

    def _remember(self, told: Situation, actions: list[Action]) -> None:
        moments, waiting = self.world.moments, told.waiting
        for action in actions:
            moments[_moment(told, action)] += 1
        for request in told.requests:
            if told.left(request) and told.flies(request):
                moments[f"left a {request.status} job"] += 1
            idle = request.identity not in told.jobs
            held = idle and request.status is RequestStatus.ON_HOLD
            moments["a held request waited beside a free slot"] += held and told.n_free > len(waiting)
            moments["a run was waited for"] += idle and told.rests(request)
        n_submitted = len(asked(actions, Submit))
        moments["submitted the most of a tick"] += n_submitted == MAX_SUBMISSIONS < len(waiting)
        moments["more in flight than the limit"] += told.n_in_flight > told.n_slots
        moments["waited with no slot at all"] += bool(waiting) and told.n_slots == 0
        competitors = {request.pipeline for request in waiting}
        moments["pipelines competed"] += 0 < n_submitted < len(waiting) and len(competitors) > 1


def _moment(told: Situation, action: Action) -> str:
    request = action.request
    match action:
        case Collect(_, job):
            last_event = f"collected a job that ended as {job.status}"
            return last_event if request.status is RequestStatus.WANTED else f"collected for a {request.status} request"
        case Stop():
            return f"stopped a {request.status} job"
        case Close(_, job):
            if told.passed_on(request):
                return "a job passed to a later request"
            return f"closed a {request.status} request {'with an ended job' if job else 'without a job'}"
        case Invoke():
            return "invoked"
        case _:
            return "submitted"


def test_any_campaign_keeps_the_promises() -> None:
    """In campaigns of any events and accidents every promise holds, and they come upon all that matters."""
    Campaign.seen.clear()
    some = settings(
        max_examples=300,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(Campaign, settings=some)
    assert {moment for moment in MOMENTS if not Campaign.seen[moment]} == set()
