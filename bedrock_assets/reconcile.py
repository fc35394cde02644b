"""
The reconciler: from what is wanted and what is, what to do next. A pure function, called at every tick.

It is level-triggered: it looks at the state, never at how the state came about, so a lost tick, a crash between two
actions or a repeated one changes nothing but time.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bedrock_assets.campaign import Job, JobStatus, Request

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
class Stop:
    """Stop a job that nobody wants any longer."""

    request: Request
    job: Job


@dataclass(frozen=True)
class Close:
    """Record that a withdrawn request has no job in flight any longer."""

    request: Request
    job: Job | None = None


Action = Submit | Collect | Stop | Close


def plan(
    requests: Sequence[Request],
    jobs: Mapping[tuple[str, str], Job],
    *,
    n_in_flight: int,
    n_slots: int,
    collecting: Collection[str] = (),
    leave_cancelled: Collection[str] = (),
) -> list[Action]:
    """
    Args:
        requests: Unfinished requests of all pipelines of one pool, at most one a shard.
        jobs: Each request's job, if Bedrock knows one, by pipeline and shard.
        n_in_flight: Jobs that take a slot: of these pipelines and of anybody else on the same models.
        n_slots: The pool's limit.
        collecting: `Request.identity` of requests whose collect run is under way.
        leave_cancelled: Pipelines whose jobs go on when the run that asked for them is cancelled.

    Returns:
        Actions in the order to carry them out. At most `n_slots - n_in_flight` of them are `Submit`, taken from
        the pipeline with the fewest jobs in flight first and from each pipeline oldest first.
    """
    actions: list[Action] = []
    waiting: list[Request] = []
    busy: Counter[str] = Counter()
    for request in sorted(requests, key=lambda request: request.storage_id):
        job = jobs.get((request.pipeline, request.shard))
        if job is None:
            waiting += [] if request.withdrawn else [request]
            actions += [Close(request)] if request.withdrawn else []
        elif job.status.in_flight:
            busy[request.pipeline] += 1
            leave = request.pipeline in leave_cancelled or job.status is JobStatus.STOPPING
            actions += [Stop(request, job)] if request.withdrawn and not leave else []
        elif request.withdrawn and request.pipeline not in leave_cancelled:
            actions.append(Close(request, job))
        elif request.identity not in collecting:
            actions.append(Collect(request, job))
    free = min(max(0, n_slots - n_in_flight), MOST_SUBMISSIONS)
    return actions + [Submit(request) for request in _fair(waiting, busy, free)]


def _fair(waiting: Sequence[Request], busy: Counter[str], n_free: int) -> list[Request]:
    queues: dict[str, list[Request]] = {}
    for request in reversed(waiting):
        queues.setdefault(request.pipeline, []).append(request)
    taken: list[Request] = []
    while queues and len(taken) < n_free:
        name = min(queues, key=lambda pipeline: (busy[pipeline], queues[pipeline][-1].storage_id))
        taken.append(queues[name].pop())
        busy[name] += 1
        if not queues[name]:
            del queues[name]
    return taken
