"""Several models, Regions and accounts: where the reconciler sends shards, whatever slots there are."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.jobs.reconcile import Capacity, Invoke, Refuse, Submit, plan
from bedrock_assets.jobs.shard_request import Request, RequestStatus, SubmitOption
from bedrock_assets.storage.manifests import InferenceMode

POOLS = ("east", "west", "north")
ROUTES = [SubmitOption(f"model@{pool}", pool) for pool in POOLS]


def request(number: int, pipeline: str = "p", where: str = "") -> Request:
    """A request that waits; higher numbers are later."""
    return Request(pipeline, f"{number:05d}", "f" * 16, 1, "key", 100, "run", storage_id=number, where=where)


def submitted(requests: list[Request], capacity: Capacity) -> list[Submit]:
    """What is submitted when there is no job yet."""
    return [action for action in plan(requests, {}, capacity) if isinstance(action, Submit)]


def test_the_preferred_route_is_taken_first() -> None:
    """Shards go to the first of the pipeline's models that has a slot, the oldest first."""
    found = submitted([request(i) for i in range(5)], Capacity({"east": 2, "west": 1, "north": 9}, {"p": ROUTES}))
    assert [action.option.pool for action in found] == ["east", "east", "west", "north", "north"]
    assert [action.request.storage_id for action in found] == list(range(5))


def test_what_was_sent_somewhere_goes_nowhere_else() -> None:
    """A shard whose job may be in one place waits for a slot there, and does not hold up the others."""
    waiting = [request(0, where="model@east"), request(1), request(2, where="model@gone")]
    found = submitted(waiting, Capacity({"east": 0, "west": 1}, {"p": ROUTES}))
    assert [(action.request.storage_id, action.option.pool) for action in found] == [(1, "west")]


@st.composite
def rooms(draw: st.DrawFn) -> tuple[list[Request], Capacity]:
    """Requests of three pipelines, some of them sent somewhere before, and any slots."""
    targets = st.sampled_from(["", "", *(option.where for option in ROUTES), "model@gone"])
    requests = [
        replace(
            request(number, draw(st.sampled_from("pqr")), draw(targets)), status=draw(st.sampled_from(RequestStatus))
        )
        for number in range(draw(st.integers(0, 40)))
    ]
    submit_options = {
        name: draw(st.permutations(ROUTES).map(lambda submit_options: submit_options[:2])) for name in "pqr"
    }
    n_free = {pool: draw(st.integers(-1, 8)) for pool in POOLS}
    return requests, Capacity(n_free, submit_options, draw(st.integers(0, 40)))


@given(rooms())
def test_any_slots_are_used_and_none_twice(state: tuple[list[Request], Capacity]) -> None:
    """No pool takes more than its slots, no shard strays, and nothing waits that could go somewhere."""
    requests, capacity = state
    found = submitted(requests, capacity)
    taken = Counter(action.option.pool for action in found)
    assert all(n <= max(0, capacity.n_free[pool]) for pool, n in taken.items())
    assert len({action.request.identity for action in found}) == len(found) <= capacity.n_max
    for action in found:
        assert action.option in capacity.submit_options[action.request.pipeline]
        assert action.request.where in ("", action.option.where)
    gone = {action.request.identity for action in found}
    wanted = [
        r
        for r in requests
        if r.status is RequestStatus.WANTED and r.inference_mode is InferenceMode.BATCH and r.identity not in gone
    ]
    full = {pool for pool in POOLS if taken[pool] >= capacity.n_free[pool]}
    for waiting in wanted:
        ways = [r for r in capacity.submit_options[waiting.pipeline] if waiting.where in ("", r.where)]
        assert len(found) == capacity.n_max or {way.pool for way in ways} <= full


@given(rooms(), st.data())
def test_a_pool_that_closes_gets_no_more(state: tuple[list[Request], Capacity], data: st.DataObject) -> None:
    """After a submission that its pool refused, the pool gets none; what can go elsewhere does, each shard once."""
    requests, capacity = state
    actions, answer = plan(requests, {}, capacity), None
    closed, seen = set[str](), list[Submit]()
    while True:
        try:
            action = actions.send(answer)
        except StopIteration:
            break
        answer = True
        if isinstance(action, Submit):
            assert action.option.pool not in closed
            seen.append(action)
            answer = data.draw(st.booleans())
            closed |= set[str]() if answer else {action.option.pool}
    assert len({action.request.identity for action in seen}) == len(seen) <= capacity.n_max
    taken, gone = Counter(action.option.pool for action in seen), {action.request.identity for action in seen}
    full = closed | {pool for pool in POOLS if taken[pool] >= capacity.n_free[pool]}
    for left in requests:
        if left.status is RequestStatus.WANTED and left.identity not in gone:
            ways = [r for r in capacity.submit_options[left.pipeline] if left.where in ("", r.where)]
            assert len(seen) == capacity.n_max or {way.pool for way in ways} <= full


@pytest.mark.parametrize("mode", list(InferenceMode))
def test_a_refused_request_is_not_sent(mode: InferenceMode) -> None:
    """A request that is refused, as its canary says, takes no slot, and a run says why; the others go on."""
    refused, other = replace(request(0), inference_mode=mode), replace(request(1), inference_mode=mode)
    actions = list(plan([refused, other], {}, Capacity({"east": 1}, {"p": ROUTES}), refused={refused.identity: "no"}))
    assert actions[0] == Refuse(refused, "no")
    assert [(type(action), action.request) for action in actions[1:]] == [
        (Submit if mode is InferenceMode.BATCH else Invoke, other)
    ]
    in_progress = plan([refused], {}, Capacity({}, {}), refused={refused.identity: "no"}, collecting={refused.identity})
    assert list(in_progress) == []
