"""
The reconciler: from the requests and the jobs, what to do next. A pure function, called at every tick.

It is level-triggered: it looks at the state, never at how the state came about, so a lost tick, a crash between two
actions or a repeated one changes nothing but time.
"""

from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import cast

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.jobs.shard_request import Request, RequestStatus, SubmitOption
from bedrock_assets.storage.keys import shard_bit
from bedrock_assets.storage.manifests import InferenceMode

MAX_SUBMISSIONS = 40
"""Jobs to create in one tick: each takes up to a second, and Dagster ends a tick after 60."""


@dataclass(frozen=True)
class Submit:
    """Create the request's job."""

    request: Request
    option: SubmitOption


@dataclass(frozen=True)
class Collect:
    """Launch a run that reads the ended job's output, and completes or fails the partition."""

    request: Request
    job: Job


@dataclass(frozen=True)
class Invoke:
    """Launch a run that answers the request's records on demand."""

    request: Request


@dataclass(frozen=True)
class Refuse:
    """Launch a run that fails the partition and says why nothing is sent."""

    request: Request
    reason: str


@dataclass(frozen=True)
class Stop:
    """Stop a job whose answers are no longer wanted."""

    request: Request
    job: Job


@dataclass(frozen=True)
class Close:
    """Record that a withdrawn or stale request no longer has a job in flight."""

    request: Request
    job: Job | None = None


Action = Submit | Collect | Invoke | Refuse | Stop | Close


@dataclass(frozen=True)
class Capacity:
    """How many jobs may be submitted, and where."""

    n_free: Mapping[str, int]
    """By pool, free slots: those taken by anybody on the same models are left out."""
    submit_options: Mapping[str, Sequence[SubmitOption]]
    """By pipeline, where its shards may be submitted, the preferred option first."""
    n_max: int = MAX_SUBMISSIONS
    """Jobs to submit at most."""


def plan(
    requests: Sequence[Request],
    jobs: Mapping[str, Job],
    capacity: Capacity,
    *,
    collecting: Collection[str] = (),
    refused: Mapping[str, str] | None = None,
    leave_cancelled: Collection[str] = (),
    leave_stale: Collection[str] = (),
) -> Generator[Action, bool | None, None]:
    """
    Say what to do, one action at a time, at most one for each request.

    The caller sends back False for a `Submit` after which its pool takes no more jobs; what would have gone there goes
    elsewhere, if it may. Anything else, and plain iteration, means that the action was carried out.

    Args:
        requests: Unfinished requests of all pipelines; of a shard at most one that is not stale.
        jobs: Each request's job, if Bedrock has one, by `Request.identity`.
        collecting: `Request.identity` of requests with a run in progress, or one that crashed and is not yet to be
            launched again. A request without a job waits for its end.
        refused: By `Request.identity`, why a request is not to be sent, as its canary says.
        leave_cancelled: Pipelines whose jobs go on when the run that requested them is cancelled.
        leave_stale: Pipelines whose jobs go on when their prompts have changed.

    A request waits only for shards before its own, so that no two wait for each other.

    Yields:
        Actions in the order to carry them out. For each pool at most `n_free` of them are `Submit`, each for the
        pipeline with the fewest jobs in flight and its oldest request, at the first of its options that has a slot. A
        request that was, or may have been, submitted somewhere goes nowhere else.
    """
    leave = {RequestStatus.STALE: leave_stale, RequestStatus.WITHDRAWN: leave_cancelled}
    pending, adopted, refused = _pending_shards(requests), _adopted(requests), refused or {}
    actions: list[Action] = []
    queue: list[Request] = []
    jobs_in_flight: dict[str, str] = {}
    for request in sorted(requests, key=attrgetter("storage_id")):
        job, is_running = jobs.get(request.identity), request.identity in collecting
        if job is not None and job.status.in_flight:
            jobs_in_flight[job.arn] = request.pipeline
        if request.identity in adopted:
            actions += [] if is_running else [Close(request, job)]
        elif request.status in leave:
            actions += _dismiss(request, job, is_running=is_running, leave=request.pipeline in leave[request.status])
        elif job is not None:
            ended = not job.status.in_flight and not is_running and not _is_blocked(request, pending)
            # Answers to another configuration could not be read rightly now; the change may be undone.
            is_readable = request.status is not RequestStatus.RECONFIGURED
            actions += [Collect(request, job)] if ended and is_readable else []
        elif request.status is RequestStatus.WANTED and not is_running:
            actions += _start(request, refused.get(request.identity), queue, pending)
    for action in actions:  # noqa: UP028 - `yield from` would send the caller's answer to the list
        yield action
    yield from _submissions(queue, Counter(jobs_in_flight.values()), capacity)


def _start(request: Request, refusal: str | None, queue: list[Request], pending: Mapping[str, int]) -> list[Action]:
    """What a wanted request without a job needs; one that needs a job is put into the *queue*."""
    if refusal is not None:
        return [Refuse(request, refusal)]
    if request.inference_mode is InferenceMode.BATCH:
        queue.append(request)
        return []
    return [] if _is_blocked(request, pending) else [Invoke(request)]


def _pending_shards(requests: Sequence[Request]) -> dict[str, int]:
    """By pipeline, if one of its shards may be blocked, the shards whose answers are pending: bit i for shard i."""
    pending: dict[str, int] = {request.pipeline: 0 for request in requests if request.blocked_by}
    for request in requests:
        if request.status is RequestStatus.WANTED and request.pipeline in pending:
            pending[request.pipeline] |= shard_bit(request.shard)
    return pending


def _is_blocked(request: Request, pending: Mapping[str, int]) -> bool:
    """Whether a shard before the request's own is about to bring some of its answers."""
    if not request.blocked_by:
        return False
    before = shard_bit(request.shard) - 1
    return bool(request.blocked_by & before & pending.get(request.pipeline, 0))


def _adopted(requests: Sequence[Request]) -> set[str]:
    """Identities of stale requests whose content, and so whose job, another request wants again."""
    stale = [request for request in requests if request.status is RequestStatus.STALE]
    wanted = {request.content for request in requests if request.status is not RequestStatus.STALE} if stale else set()
    return {request.identity for request in stale if request.content in wanted}


def _dismiss(request: Request, job: Job | None, *, is_running: bool, leave: bool) -> list[Action]:
    """What a request that is no longer wanted still needs."""
    if job is None:
        return [] if is_running else [Close(request)]
    if job.status.in_flight:
        return [] if leave or job.status is JobStatus.STOPPING else [Stop(request, job)]
    if request.status is RequestStatus.WITHDRAWN and leave:
        return [] if is_running else [Collect(request, job)]
    return [Close(request, job)]


def _submissions(
    queue: Sequence[Request], n_jobs: Counter[str], capacity: Capacity
) -> Generator[Action, bool | None, None]:
    """
    A slot at a time for the pipeline with the fewest jobs in flight.

    Args:
        queue: Requests to submit, the oldest first.
        n_jobs: Jobs in flight by pipeline; counted up here.
    """
    n_free = dict(capacity.n_free)
    queues: dict[tuple[str, str], list[Request]] = {}
    for request in reversed(queue):
        queues.setdefault((request.pipeline, request.where), []).append(request)
    for _ in range(capacity.n_max):
        options = {key: pick_option(capacity.submit_options.get(key[0], ()), key[1], n_free) for key in queues}
        candidates = [key for key, option in options.items() if option]
        if not candidates:
            return
        key = min(candidates, key=lambda key: (n_jobs[key[0]], queues[key][-1].storage_id))
        option = cast(SubmitOption, options[key])
        is_open = yield Submit(queues[key].pop(), option)
        n_free[option.pool] = 0 if is_open is False else n_free[option.pool] - 1
        n_jobs[key[0]] += 1
        if not queues[key]:
            del queues[key]


def pick_option(options: Sequence[SubmitOption], where: str, n_free: Mapping[str, int]) -> SubmitOption | None:
    """The first option with a free slot; for a request that was submitted already, only the one at *where*."""
    return next((one for one in options if n_free.get(one.pool, 0) > 0 and where in ("", one.where)), None)
