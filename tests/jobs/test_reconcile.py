"""The reconciler, a pure function: its promises hold for any state it may find."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.jobs.reconcile import MAX_SUBMISSIONS, Close, Collect, Invoke, Stop, Submit, plan
from bedrock_assets.jobs.shard_request import Request, RequestStatus
from bedrock_assets.storage.manifests import InferenceMode
from tests.labs import promises
from tests.labs.promises import ROUTE, Situation, asked, capacity

IN_FLIGHT = [status for status in JobStatus if status.in_flight]
ENDED = [status for status in JobStatus if not status.in_flight]


def request(
    number: int,
    pipeline: str = "p",
    status: RequestStatus = RequestStatus.WANTED,
    inference_mode: InferenceMode = InferenceMode.BATCH,
    *,
    shard: int | None = None,
) -> Request:
    """A request, for a shard of its own unless one is given; higher numbers are later."""
    key = f"{number if shard is None else shard:05d}"
    made = Request(pipeline, key, "f" * 16, 1, "key", 100, "run", storage_id=number)
    return replace(made, status=status, inference_mode=inference_mode)


def job(status: JobStatus, number: int = 0) -> Job:
    """A job in a status."""
    return Job(f"arn:x/{number}", "name", status, "model", datetime(2026, 11, 1, tzinfo=UTC))


def told(
    *requests: Request, jobs: dict[Request, JobStatus] | None = None, n_slots: int = 9, **facts: set[str]
) -> Situation:
    """A state in which only these requests' jobs are in flight."""
    found = {made.identity: job(status, made.storage_id) for made, status in (jobs or {}).items()}
    n_in_flight = len({job.arn for job in found.values() if job.status.in_flight})
    return Situation(requests, found, n_in_flight, n_slots, **facts)


@st.composite
def states(draw: st.DrawFn) -> Situation:
    """Any mix of requests of three pipelines; some stale ones are for the content that a later request asks for."""
    requests: list[Request] = []
    jobs: dict[str, Job] = {}
    for number in range(draw(st.integers(0, 60))):
        wanted = draw(st.sampled_from([*RequestStatus, RequestStatus.WANTED, RequestStatus.WANTED]))
        made = request(
            number, draw(st.sampled_from("pqr")), wanted, draw(st.sampled_from([InferenceMode.BATCH, *InferenceMode]))
        )
        made = replace(made, blocked_by=draw(st.sampled_from([0, 0, 1 << number // 2, (1 << 60) - 1])))
        status = (
            draw(st.one_of(st.none(), st.sampled_from(list(JobStatus))))
            if made.inference_mode is InferenceMode.BATCH
            else None
        )
        twins = [made]
        if wanted is not RequestStatus.STALE and draw(st.sampled_from([False, False, True])):
            twins.append(replace(made, storage_id=100 + number, status=RequestStatus.STALE))
        requests += twins
        if status is not None:
            jobs |= {twin.identity: job(status, number) for twin in twins}
    n_own = len({job.arn for job in jobs.values() if job.status.in_flight})
    some = st.sampled_from([frozenset(), frozenset("p"), frozenset("pqr")])
    return Situation(
        draw(st.permutations(requests)),
        jobs,
        n_own + draw(st.integers(0, 5)),
        draw(st.integers(0, 100)),
        frozenset(made.identity for made in requests if draw(st.booleans())),
        draw(some),
        draw(some),
    )


@settings(max_examples=100)
@given(states())
def test_every_promise_holds(state: Situation) -> None:
    """Each promise holds in any state the reconciler may find."""
    actions = state.plan()
    for promise in promises.PROMISES:
        promise(state, actions)


@given(states(), st.randoms())
def test_the_order_of_reading_does_not_matter(state: Situation, chance: random.Random) -> None:
    """The same state read in another order gives the same actions."""
    again = replace(state, requests=chance.sample(state.requests, len(state.requests)))
    assert again.plan() == state.plan()


def test_two_pipelines_take_turns() -> None:
    """A small pipeline that comes after a large one gets every other slot."""
    large, small = [request(i, "large") for i in range(100)], [request(200 + i, "small") for i in range(3)]
    actions = told(*large, *small, n_slots=8).plan()
    assert [wanted.pipeline for wanted in asked(actions, Submit)] == ["large", "small"] * 3 + ["large"] * 2


def test_a_tick_ends_in_time() -> None:
    """With more free slots than a tick bears, the oldest requests are submitted and the rest is left to the next."""
    requests = [request(i) for i in range(3 * MAX_SUBMISSIONS)]
    assert asked(told(*requests, n_slots=10_000).plan(), Submit) == requests[:MAX_SUBMISSIONS]


def test_a_lower_limit_stops_nothing() -> None:
    """When the limit falls below what is in flight, jobs go on and nothing is submitted."""
    requests = [request(i) for i in range(6)]
    assert told(*requests, jobs=dict.fromkeys(requests[:4], JobStatus.IN_PROGRESS), n_slots=2).plan() == []


def test_a_held_request_waits() -> None:
    """While the dataset is ahead of the prompts nothing is submitted or invoked, and what runs is neither stopped."""
    waiting, running = request(1, status=RequestStatus.ON_HOLD), request(2, status=RequestStatus.ON_HOLD)
    small = request(3, status=RequestStatus.ON_HOLD, inference_mode=InferenceMode.ON_DEMAND)
    assert told(waiting, running, small, jobs={running: JobStatus.IN_PROGRESS}).plan() == []


@pytest.mark.parametrize("status", ENDED)
def test_a_held_request_is_collected(status: JobStatus) -> None:
    """A job that was submitted before the dataset changed is collected: it is paid for."""
    held = request(1, status=RequestStatus.ON_HOLD)
    (action,) = told(held, jobs={held: status}).plan()
    assert isinstance(action, Collect)


@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize("status", IN_FLIGHT)
def test_a_stale_job_is_stopped_once(status: JobStatus, leave: bool) -> None:
    """A job for former prompts is stopped, unless it is stopping already or is to be left; until its end it is open."""
    stale = request(1, status=RequestStatus.STALE)
    actions = told(stale, jobs={stale: status}, leave_stale={"p"} if leave else set()).plan()
    assert len(asked(actions, Stop)) == (not leave and status is not JobStatus.STOPPING)
    assert not asked(actions, Close)


@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize("status", [None, *ENDED])
def test_a_stale_request_is_closed(status: JobStatus | None, leave: bool) -> None:
    """With no job, or an ended one, a stale request is closed: nobody would join its answers."""
    stale = request(1, status=RequestStatus.STALE)
    actions = told(stale, jobs={stale: status} if status else {}, leave_stale={"p"} if leave else set()).plan()
    assert asked(actions, Close) == [stale]
    assert len(actions) == 1


def test_a_shard_goes_on_while_its_former_job_stops() -> None:
    """The request for new prompts is submitted in the tick that stops the job for the former ones."""
    stale, wanted = (
        request(1, status=RequestStatus.STALE, shard=7),
        replace(request(2, shard=7), fingerprint="e" * 16),
    )
    actions = told(stale, wanted, jobs={stale: JobStatus.IN_PROGRESS}).plan()
    assert asked(actions, Stop) == [stale]
    assert asked(actions, Submit) == [wanted]


@pytest.mark.parametrize("wanted", [RequestStatus.WANTED, RequestStatus.ON_HOLD, RequestStatus.WITHDRAWN])
@pytest.mark.parametrize("status", list(JobStatus))
def test_a_job_passes_to_the_later_request(status: JobStatus, wanted: RequestStatus) -> None:
    """When prompts are changed and changed back, the stale request is closed and leaves its job to the new one."""
    stale, later = request(1, status=RequestStatus.STALE, shard=7), request(2, status=wanted, shard=7)
    state = told(stale, later, leave_cancelled={"p"})
    found = {made.identity: job(status) for made in (stale, later)}
    actions = replace(state, jobs=found, n_in_flight=int(status.in_flight)).plan()
    assert asked(actions, Close) == [stale]
    assert not asked(actions, Stop)


@pytest.mark.parametrize(
    "change", [{"fingerprint": "e" * 16}, {"attempt": 2}, {"inference_mode": InferenceMode.ON_DEMAND}]
)
def test_a_job_passes_to_the_same_content_only(change: dict[str, Any]) -> None:
    """A later request for other prompts, attempt or inference mode has another job: the stale one stops."""
    stale, later = request(1, status=RequestStatus.STALE, shard=7), replace(request(2, shard=7), **change)
    actions = told(stale, later, jobs={stale: JobStatus.IN_PROGRESS}).plan()
    assert asked(actions, Stop) == [stale]
    assert not asked(actions, Close)


def test_a_job_that_passed_on_counts_once() -> None:
    """A job that two requests name takes one of its pipeline's turns, not two."""
    stale, later = request(1, status=RequestStatus.STALE, shard=7), request(2, shard=7)
    waiting, other = request(3), [request(i, "q") for i in (4, 5)]
    found = {made.identity: job(JobStatus.IN_PROGRESS) for made in (stale, later)}
    found[other[0].identity] = job(JobStatus.IN_PROGRESS, 4)
    actions = list(plan([stale, later, waiting, *other], found, capacity(1)))
    assert asked(actions, Submit) == [waiting]


def test_on_demand_takes_no_slot() -> None:
    """A request on demand is invoked with no slot free, once; and takes none from the jobs."""
    small, large = request(1, inference_mode=InferenceMode.ON_DEMAND), request(2)
    assert told(small, large, n_slots=0).plan() == [Invoke(small)]
    assert told(small, large, n_slots=1, collecting={small.identity}).plan() == [Submit(large, ROUTE)]


@pytest.mark.parametrize("inference_mode", list(InferenceMode))
@pytest.mark.parametrize("status", list(RequestStatus))
def test_a_run_under_way_is_waited_for(status: RequestStatus, inference_mode: InferenceMode) -> None:
    """A request without a job whose run is under way is left alone: the run answers it or tells of a refusal."""
    made = request(1, status=status, inference_mode=inference_mode)
    assert told(made, collecting={made.identity}).plan() == []


@pytest.mark.parametrize("status", list(RequestStatus))
def test_a_shard_waits_for_those_it_shares_prompts_with(status: RequestStatus) -> None:
    """A job that ended is collected after the wanted shard that is asked its prompts too, and not before."""
    first = request(0, status=status)
    second = replace(request(1), blocked_by=0b11)
    state = told(first, second, jobs={first: JobStatus.IN_PROGRESS, second: JobStatus.COMPLETED})
    assert asked(state.plan(), Collect) == ([] if status is RequestStatus.WANTED else [second])


@given(n=st.integers(1, 50), n_slots=st.integers(1, 7), chance=st.randoms())
def test_everything_is_done_in_the_end(n: int, n_slots: int, chance: random.Random) -> None:
    """Played tick by tick with jobs that end at random, every request gets one job and is collected, under the cap."""
    made = [replace(request(i, chance.choice("pq")), blocked_by=chance.getrandbits(n)) for i in range(n)]
    open_requests = {one.identity: one for one in made}
    jobs: dict[str, Job] = {}
    created = Counter[str]()
    while open_requests:
        flying = [name for name, found in jobs.items() if found.status.in_flight]
        assert len(flying) <= n_slots
        for ended in chance.sample(flying, chance.randint(min(1, len(flying)), len(flying))):
            jobs[ended] = replace(jobs[ended], status=chance.choice(ENDED))
        n_in_flight = sum(found.status.in_flight for found in jobs.values())
        actions = list(plan(list(open_requests.values()), jobs, capacity(n_slots - n_in_flight)))
        assert actions or n_in_flight, "a tick without progress would be followed by another"
        for action in actions:
            name = action.request.identity
            if isinstance(action, Submit):
                jobs[name] = job(chance.choice(IN_FLIGHT), len(jobs))
                created[name] += 1
            else:
                assert isinstance(action, Collect)
                del open_requests[name]
    assert set(created.values()) == {1}
    assert len(created) == n
