"""
The reconciler: from what is wanted and what is, what to do next. A pure function, called at every tick.

It is level-triggered: it looks at the state, never at how the state came about, so a lost tick, a crash between two
actions or a repeated one changes nothing but time.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from bedrock_assets.campaign import Job, JobStatus, Lane, Request, Standing
from bedrock_assets.records import shard_bit

MOST_SUBMISSIONS = 40
"""A tick: each takes up to a second, and Dagster ends a tick after 60."""


@dataclass(frozen=True)
class Submit:
    """Create the request's job."""

    request: Request


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


def plan(
    requests: Sequence[Request],
    jobs: Mapping[str, Job],
    *,
    n_in_flight: int,
    n_slots: int,
    collecting: Collection[str] = (),
    leave_cancelled: Collection[str] = (),
    leave_stale: Collection[str] = (),
) -> list[Action]:
    """
    Args:
        requests: Unfinished requests of all pipelines of one pool; of a shard at most one that is not stale.
        jobs: Each request's job, if Bedrock knows one, by `Request.identity`.
        n_in_flight: Jobs that take a slot: of these pipelines and of anybody else on the same models.
        n_slots: The pool's limit.
        collecting: `Request.identity` of requests whose run is under way, or rests after a crash: a collect run, one
            that answers on demand, or one that tells of a refused job. A request without a job waits for its end.
        leave_cancelled: Pipelines whose jobs go on when the run that asked for them is cancelled.
        leave_stale: Pipelines whose jobs go on when their prompts have changed.

    A request waits only for shards before its own, so that no two wait for each other.

    Returns:
        Actions in the order to carry them out, at most one a request. At most `n_slots - n_in_flight` of them are
        `Submit`, taken from the pipeline with the fewest jobs in flight first and from each pipeline oldest first.
    """
    left = {Standing.STALE: leave_stale, Standing.WITHDRAWN: leave_cancelled}
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
        elif request.standing in left:
            actions += _dismiss(request, job, running=running, leave=request.pipeline in left[request.standing])
        elif job is not None:
            waits = job.status.in_flight or running or _waits(request, coming)
            actions += [] if waits else [Collect(request, job)]
        elif request.standing is Standing.WANTED and request.lane is Lane.BATCH and not running:
            waiting.append(request)
        elif request.standing is Standing.WANTED and not running and not _waits(request, coming):
            actions.append(Invoke(request))
    n_free = min(max(0, n_slots - n_in_flight), MOST_SUBMISSIONS)
    return actions + _fair(waiting, Counter(flying.values()), n_free)


def _coming(requests: Sequence[Request]) -> dict[str, int]:
    """By pipeline, if a shard of it may wait, the shards whose answers are to come: bit i stands for shard i."""
    coming: dict[str, int] = {request.pipeline: 0 for request in requests if request.waits_for}
    for request in requests:
        if request.standing is Standing.WANTED and request.pipeline in coming:
            coming[request.pipeline] |= shard_bit(request.shard)
    return coming


def _waits(request: Request, coming: Mapping[str, int]) -> bool:
    """Whether a shard before the request's own, and none after it, is about to bring some of its answers."""
    if not request.waits_for:
        return False
    before = shard_bit(request.shard) - 1
    return bool(request.waits_for & before & coming.get(request.pipeline, 0))


def _taken_over(requests: Sequence[Request]) -> set[str]:
    """Identities of stale requests whose content, and so whose job, another request asks for again."""
    stale = [request for request in requests if request.standing is Standing.STALE]
    served = {_content(request) for request in requests if request.standing is not Standing.STALE} if stale else set()
    return {request.identity for request in stale if _content(request) in served}


def _content(request: Request) -> tuple[str, str, str, int, Lane]:
    """What its job is named after, if it has one."""
    return request.pipeline, request.shard, request.fingerprint, request.attempt, request.lane


def _dismiss(request: Request, job: Job | None, *, running: bool, leave: bool) -> list[Action]:
    """What a request that nobody serves any longer still needs."""
    if job is None:
        return [] if running else [Close(request)]
    if job.status.in_flight:
        return [] if leave or job.status is JobStatus.STOPPING else [Stop(request, job)]
    if request.standing is Standing.WITHDRAWN and leave:
        return [] if running else [Collect(request, job)]
    return [Close(request, job)]


def _fair(waiting: Sequence[Request], busy: Counter[str], n_free: int) -> list[Action]:
    """A slot at a time for the pipeline with the fewest jobs in flight, of which *busy* is the count."""
    queues: dict[str, list[Request]] = {}
    for request in reversed(waiting):
        queues.setdefault(request.pipeline, []).append(request)
    taken: list[Action] = []
    while queues and len(taken) < n_free:
        name = min(queues, key=lambda pipeline: (busy[pipeline], queues[pipeline][-1].storage_id))
        taken.append(Submit(queues[name].pop()))
        busy[name] += 1
        if not queues[name]:
            del queues[name]
    return taken
