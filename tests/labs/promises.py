"""What the reconciler promises of every tick: checked on made-up states and in whole campaigns."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.jobs.reconcile import MAX_SUBMISSIONS, Action, Capacity, Close, Collect, Invoke, Stop, Submit, plan
from bedrock_assets.jobs.shard_request import Request, RequestStatus, SubmitOption
from bedrock_assets.storage.manifests import InferenceMode

Content = tuple[str, str, str, int, InferenceMode]
DISMISSED = (RequestStatus.STALE, RequestStatus.WITHDRAWN)


ROUTE = SubmitOption("", "pool")
"""The way of pipelines with one model, of which it need not be told."""


def capacity(n_free: int, pipelines: Iterable[str] = "pqr") -> Capacity:
    """So many free slots of the one pool that pipelines share."""
    return Capacity({ROUTE.pool: n_free}, {name: [ROUTE] for name in pipelines})


@dataclass(frozen=True)
class Situation:
    """What the reconciler is told at a tick."""

    requests: Sequence[Request]
    jobs: Mapping[str, Job]
    n_in_flight: int
    n_slots: int
    collecting: AbstractSet[str] = frozenset()
    leave_cancelled: AbstractSet[str] = frozenset()
    leave_stale: AbstractSet[str] = frozenset()

    def plan(self) -> list[Action]:
        """The actions for this state."""
        return list(
            plan(
                self.requests,
                self.jobs,
                capacity(self.n_slots - self.n_in_flight, {request.pipeline for request in self.requests}),
                collecting=self.collecting,
                leave_cancelled=self.leave_cancelled,
                leave_stale=self.leave_stale,
            )
        )

    def flies(self, request: Request) -> bool:
        """Whether its job takes a slot."""
        return request.identity in self.jobs and self.jobs[request.identity].status.in_flight

    def ended(self, request: Request) -> bool:
        """Whether it has a job that takes no slot."""
        return request.identity in self.jobs and not self.flies(request)

    def rests(self, request: Request) -> bool:
        """Whether a run of its own is under way."""
        return request.identity in self.collecting

    def left(self, request: Request) -> bool:
        """Whether its job goes on, or would, by its pipeline's configuration although nobody wants it."""
        names = self.leave_stale if request.status is RequestStatus.STALE else self.leave_cancelled
        return request.status in DISMISSED and request.pipeline in names

    def passed_on(self, request: Request) -> bool:
        """Whether it is a stale one whose job belongs to a later request for the same content."""
        return request.status is RequestStatus.STALE and content(request) in self.served

    def waits(self, request: Request) -> bool:
        """Whether a shard before its own is wanted, and asked some of its prompts."""
        before = [
            int(r.shard) for r in self.requests if (r.pipeline, r.status) == (request.pipeline, RequestStatus.WANTED)
        ]
        model_identity = {i for i in before if request.blocked_by >> i & 1}
        return any(i < int(request.shard) for i in model_identity)

    @cached_property
    def served(self) -> set[Content]:
        """Contents that somebody still asks for."""
        return {content(request) for request in self.requests if request.status is not RequestStatus.STALE}

    @property
    def n_free(self) -> int:
        """Slots that a tick may fill."""
        return min(max(0, self.n_slots - self.n_in_flight), MAX_SUBMISSIONS)

    @property
    def waiting(self) -> list[Request]:
        """Requests that are to get a job, oldest first."""
        idle = [r for r in self.requests if r.identity not in self.jobs and not self.rests(r)]
        wanted = [r for r in idle if r.status is RequestStatus.WANTED and r.inference_mode is InferenceMode.BATCH]
        return sorted(wanted, key=lambda request: request.storage_id)


def content(request: Request) -> Content:
    """What is paid for: two requests with the same have the same job."""
    return request.pipeline, request.shard, request.fingerprint, request.attempt, request.inference_mode


def asked(actions: Sequence[Action], kind: type[Action]) -> list[Request]:
    """Requests that get an action of this kind, in order."""
    return [action.request for action in actions if isinstance(action, kind)]


def names(requests: Sequence[Request]) -> set[str]:
    """Their identities."""
    return {request.identity for request in requests}


def check_cap(told: Situation, actions: Sequence[Action]) -> None:
    """Whatever is in flight, whoever's it is, no more is submitted than slots are free and a tick bears."""
    assert len(asked(actions, Submit)) <= told.n_free


def check_single_submission(told: Situation, actions: Sequence[Action]) -> None:
    """Only a wanted batch request without a job and without a run is submitted; no request has two actions."""
    assert names(asked(actions, Submit)) <= names(told.waiting)
    assert max(Counter(action.request.identity for action in actions).values(), default=1) == 1


def check_free_slots_are_used(told: Situation, actions: Sequence[Action]) -> None:
    """Every free slot is filled as long as something waits."""
    assert len(asked(actions, Submit)) == min(len(told.waiting), told.n_free)


def check_collected(told: Situation, actions: Sequence[Action]) -> None:
    """An ended job is collected if its answers are wanted, held or left to come, unless a run does so, or it waits; not
    while its pipeline has another configuration."""
    expected = [
        r
        for r in told.requests
        if told.ended(r)
        and not told.rests(r)
        and (told.left(r) if r.status in DISMISSED else not told.waits(r))
        and r.status not in (RequestStatus.STALE, RequestStatus.RECONFIGURED)
    ]
    assert names(asked(actions, Collect)) == names(expected)


def check_invoked(told: Situation, actions: Sequence[Action]) -> None:
    """A wanted on-demand request gets a run of its own unless it has one, or waits."""
    expected = [
        r
        for r in told.requests
        if r.status is RequestStatus.WANTED
        and r.inference_mode is InferenceMode.ON_DEMAND
        and r.identity not in told.jobs
        and not told.rests(r)
        and not told.waits(r)
    ]
    assert names(asked(actions, Invoke)) == names(expected)


def check_dismissed(told: Situation, actions: Sequence[Action]) -> None:
    """A request nobody serves has its job stopped, once and unless that is left; at its end it is closed."""
    stopped, closed = names(asked(actions, Stop)), names(asked(actions, Close))
    for request in told.requests:
        gone, job = request.status in DISMISSED, told.jobs.get(request.identity)
        goes_on = told.left(request) or told.passed_on(request) or (job and job.status is JobStatus.STOPPING)
        assert (request.identity in stopped) == bool(gone and told.flies(request) and not goes_on)
        if job is None or told.passed_on(request):
            over = not told.rests(request)
        else:
            over = told.ended(request) and not (request.status is RequestStatus.WITHDRAWN and told.left(request))
        assert (request.identity in closed) == (gone and over)


def check_shared(told: Situation, actions: Sequence[Action]) -> None:
    """No pipeline is given a slot while a waiting one has two jobs fewer; each pipeline takes its oldest first."""
    flying = {told.jobs[r.identity].arn: r.pipeline for r in told.requests if told.flies(r)}
    busy, queue = Counter(flying.values()), told.waiting
    for request in asked(actions, Submit):
        busy[request.pipeline] += 1
        assert request == next(waiting for waiting in queue if waiting.pipeline == request.pipeline)
        queue.remove(request)
        assert all(busy[request.pipeline] <= busy[waiting.pipeline] + 1 for waiting in queue)


Promise = Callable[[Situation, Sequence[Action]], None]
PROMISES: tuple[Promise, ...] = (
    check_cap,
    check_single_submission,
    check_free_slots_are_used,
    check_collected,
    check_invoked,
    check_dismissed,
    check_shared,
)
