"""
The reconciler: from what is wanted and what is, what to do next. A pure function, called at every tick.

It is level-triggered: it looks at the state, never at how the state came about, so a lost tick, a crash between two
actions or a repeated one changes nothing but time.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.jobs.request import Request, RequestStatus, SubmitOption
from bedrock_assets.storage.keys import shard_bit
from bedrock_assets.storage.manifests import InferenceMode

MAX_SUBMISSIONS = 40
"""A tick: each takes up to a second, and Dagster ends a tick after 60."""


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
class Stop:
    """Stop a job whose answers nobody wants any longer."""

    request: Request
    job: Job


@dataclass(frozen=True)
class Close:
    """Record that a withdrawn or stale request has no job in flight any longer."""

    request: Request
    job: Job | None = None


Action = Submit | Collect | Invoke | Stop | Close


@dataclass(frozen=True)
class Capacity:
    """What may be submitted, and where."""

    n_free: Mapping[str, int]
    """By pool, slots that no job takes, of these pipelines or of anybody else on the same models."""
    submit_options: Mapping[str, Sequence[SubmitOption]]
    """By pipeline, the ways to submit its shards, the preferred first."""
    most: int = MAX_SUBMISSIONS
    """Jobs to submit."""


def plan(
    requests: Sequence[Request],
    jobs: Mapping[str, Job],
    capacity: Capacity,
    *,
    collecting: Collection[str] = (),
    leave_cancelled: Collection[str] = (),
    leave_stale: Collection[str] = (),
) -> list[Action]:
    """
    Args:
        requests: Unfinished requests of all pipelines; of a shard at most one that is not stale.
        jobs: Each request's job, if Bedrock knows one, by `Request.identity`.
        collecting: `Request.identity` of requests whose run is under way, or rests after a crash: a collect run, one
            that answers on demand, or one that tells of a refused job. A request without a job waits for its end.
        leave_cancelled: Pipelines whose jobs go on when the run that asked for them is cancelled.
        leave_stale: Pipelines whose jobs go on when their prompts have changed.

    A request waits only for shards before its own, so that no two wait for each other.

    Returns:
        Actions in the order to carry them out, at most one a request. Of each pool at most `n_free` of them are
        `Submit`, taken from the pipeline with the fewest jobs in flight first and from each pipeline oldest first, each
        by the first of its routes that has a slot; one that was, or may have been, submitted somewhere goes nowhere
        else.
    """
    left = {RequestStatus.STALE: leave_stale, RequestStatus.WITHDRAWN: leave_cancelled}
    coming = _coming(requests)
    taken_over = _taken_over(requests)
    actions: list[Action] = []
    waiting: list[Request] = []
    flying: dict[str, str] = {}
    for request in sorted(requests, key=attrgetter("storage_id")):
        identity = request.identity
        job, running = jobs.get(identity), identity in collecting
        if job is not None and job.status.in_flight:
            flying[job.arn] = request.pipeline
        if identity in taken_over:
            actions += [] if running else [Close(request, job)]
        elif request.status in left:
            actions += _dismiss(request, job, running=running, leave=request.pipeline in left[request.status])
        elif job is not None:
            waits = job.status.in_flight or running or _waits(request, coming)
            actions += [] if waits else [Collect(request, job)]
        elif request.status is RequestStatus.WANTED and request.inference_mode is InferenceMode.BATCH and not running:
            waiting.append(request)
        elif request.status is RequestStatus.WANTED and not running and not _waits(request, coming):
            actions.append(Invoke(request))
    return actions + _fair(waiting, Counter(flying.values()), capacity)


def _coming(requests: Sequence[Request]) -> dict[str, int]:
    """By pipeline, if a shard of it may wait, the shards whose answers are to come: bit i stands for shard i."""
    coming: dict[str, int] = {request.pipeline: 0 for request in requests if request.blocked_by}
    for request in requests:
        if request.status is RequestStatus.WANTED and request.pipeline in coming:
            coming[request.pipeline] |= shard_bit(request.shard)
    return coming


def _waits(request: Request, coming: Mapping[str, int]) -> bool:
    """Whether a shard before the request's own, and none after it, is about to bring some of its answers."""
    if not request.blocked_by:
        return False
    before = shard_bit(request.shard) - 1
    return bool(request.blocked_by & before & coming.get(request.pipeline, 0))


def _taken_over(requests: Sequence[Request]) -> set[str]:
    """Identities of stale requests whose content, and so whose job, another request asks for again."""
    stale = [request for request in requests if request.status is RequestStatus.STALE]
    served = {request.content for request in requests if request.status is not RequestStatus.STALE} if stale else set()
    return {request.identity for request in stale if request.content in served}


def _dismiss(request: Request, job: Job | None, *, running: bool, leave: bool) -> list[Action]:
    """What a request that nobody serves any longer still needs."""
    if job is None:
        return [] if running else [Close(request)]
    if job.status.in_flight:
        return [] if leave or job.status is JobStatus.STOPPING else [Stop(request, job)]
    if request.status is RequestStatus.WITHDRAWN and leave:
        return [] if running else [Collect(request, job)]
    return [Close(request, job)]


def _fair(waiting: Sequence[Request], busy: Counter[str], capacity: Capacity) -> list[Action]:
    """A slot at a time for the pipeline with the fewest jobs in flight, of which *busy* is the count."""
    n_free = dict(capacity.n_free)
    queues: dict[tuple[str, str], list[Request]] = {}
    for request in reversed(waiting):
        queues.setdefault((request.pipeline, request.target), []).append(request)
    taken: list[Action] = []
    while len(taken) < capacity.most:
        ways = {
            key: way for key in queues if (way := pick_option(capacity.submit_options.get(key[0], ()), key[1], n_free))
        }
        if not ways:
            break
        key = min(ways, key=lambda key: (busy[key[0]], queues[key][-1].storage_id))
        taken.append(Submit(queues[key].pop(), ways[key]))
        n_free[ways[key].pool] -= 1
        busy[key[0]] += 1
        if not queues[key]:
            del queues[key]
    return taken


def pick_option(submit_options: Sequence[SubmitOption], target: str, n_free: Mapping[str, int]) -> SubmitOption | None:
    """The first of the routes with a slot; of a request with a *target*, the one that leads there."""
    return next((r for r in submit_options if n_free.get(r.pool, 0) > 0 and target in ("", r.target)), None)
