"""
A model of all that surrounds the reconciler: Bedrock, the event log, runs, people and accidents.

Time is counted in ticks. Bedrock lists a new job only after a while, but gives one whose ARN was noted at once, and
takes a repeated name for the same job only until it lists it: whoever submits a job that can be seen pays twice.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.jobs.reconcile import Action, Close, Collect, Invoke, Stop, Submit
from bedrock_assets.jobs.shard_request import Request, RequestStatus, job_name
from bedrock_assets.storage.manifests import InferenceMode
from tests.labs.promises import Content, Situation, content

MOST_ATTEMPTS = 3
RUN_TRIES = 3
"""Runs of a request that may crash before it is failed."""
REST = 2
"""Ticks that a request rests after its run has crashed."""
ADOPTED = "adopted a job not listed yet"
CUT_SHORT = (JobStatus.PARTIALLY_COMPLETED, JobStatus.EXPIRED)
_START = datetime(2026, 11, 1, tzinfo=UTC)
_ROAD = (JobStatus.SUBMITTED, JobStatus.VALIDATING, JobStatus.SCHEDULED, JobStatus.IN_PROGRESS)


class Fault(StrEnum):
    """What may go wrong at one Create of a tick; all but `REJECTED` end the tick."""

    REFUSED = "refused"
    """A quota or throttling: the same call may succeed later."""
    REJECTED = "rejected"
    """The call will never succeed; a run is launched that tells so."""
    LOST = "lost"
    """The job is created, but the answer does not arrive, or the process dies before it can note the ARN."""
    CRASHED = "crashed"
    """The process dies before the call."""


@dataclass
class FakeJob:
    """A job as Bedrock keeps it."""

    job: Job
    content: Content | None
    """None for a job of somebody else."""
    listed_from: int
    """The first tick that sees it in a list."""
    noted: bool = False
    orphaned: bool = False
    """Its request was closed before anybody could know of the job."""

    def move(self, to: JobStatus) -> bool:
        """Change the status, if Bedrock could."""
        now = self.job.status
        steps = set(_ROAD[_ROAD.index(now) + 1 :]) if now in _ROAD else set[JobStatus]()
        if now in _ROAD:
            steps |= {status for status in JobStatus if not status.in_flight} | {JobStatus.STOPPING}
        elif now is JobStatus.STOPPING:
            steps = {JobStatus.STOPPED, JobStatus.COMPLETED}
        if to in steps:
            self.job = replace(self.job, status=to)
        return to in steps


@dataclass
class FakeBedrock:
    """The account's jobs."""

    jobs: list[FakeJob] = field(default_factory=list)
    names: dict[str, FakeJob] = field(default_factory=dict)
    """The latest of each name."""

    def create(self, name: str, what: Content | None, now: int, lag: int) -> tuple[FakeJob, bool]:
        """A job of that name, and whether it existed."""
        known = self.names.get(name)
        if known is not None and known.listed_from > now:
            return known, True
        made = FakeJob(Job(f"arn:x/{len(self.jobs)}", name, JobStatus.SUBMITTED, "m", _START), what, now + 1 + lag)
        self.jobs.append(made)
        self.names[name] = made
        return made, False

    @property
    def in_flight(self) -> list[FakeJob]:
        """Jobs that take a slot."""
        return [fake for fake in self.jobs if fake.job.status.in_flight]


@dataclass
class Open:
    """A request that is not done, as the event log and the runs tell of it."""

    request: Request
    running: bool = False
    rests_until: int = 0
    n_crashes: int = 0


@dataclass
class World:
    """Everything, and the steps it can take."""

    limit: int
    lag: int = 0
    """Ticks until Bedrock lists a new job."""
    leave_cancelled: frozenset[str] = frozenset()
    leave_stale: frozenset[str] = frozenset()
    now: int = 0
    bedrock: FakeBedrock = field(default_factory=FakeBedrock)
    opened: dict[str, Open] = field(default_factory=dict)
    latest: dict[tuple[str, str], tuple[Request, str]] = field(default_factory=dict)
    """Of each shard the latest request and what came of it: `open`, `answered`, `failed` or `withdrawn`."""
    prompts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Version of each shard's prompts."""
    held: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)
    n_requests: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    """How often something worth testing has happened."""

    def status(self, request: Request) -> RequestStatus:
        """Whether a request is still to be served."""
        shard = request.pipeline, request.shard
        if self.latest[shard][0] != request or request.fingerprint != f"v{self.prompts[shard]}":
            return RequestStatus.STALE
        if request.run_id in self.cancelled:
            return RequestStatus.WITHDRAWN
        return RequestStatus.ON_HOLD if request.pipeline in self.held else RequestStatus.WANTED

    def job_of(self, request: Request) -> FakeJob | None:
        """The request's job, whether or not anybody knows of it."""
        return self.bedrock.names.get(name_of(request)) if request.inference_mode is InferenceMode.BATCH else None

    def sees(self, fake: FakeJob | None) -> bool:
        """Whether the dispatcher can know of a job."""
        return fake is not None and (fake.noted or fake.listed_from <= self.now)

    def look(self) -> Situation:
        """What the dispatcher can tell the reconciler."""
        requests = [replace(e.request, status=self.status(e.request)) for e in reversed(self.opened.values())]
        known = {request.identity: self.job_of(request) for request in requests}
        return Situation(
            requests,
            {identity: fake.job for identity, fake in known.items() if fake is not None and self.sees(fake)},
            sum(self.sees(fake) for fake in self.bedrock.in_flight),
            self.limit,
            frozenset(i for i, e in self.opened.items() if e.running or e.rests_until > self.now),
            self.leave_cancelled,
            self.leave_stale,
        )

    def carry_out(self, actions: list[Action], fault: Fault | None = None, healthy: int = 0) -> None:
        """
        Do what a tick does.

        Args:
            fault: What befalls one Create, after so many *healthy* ones.
        """
        for action in actions:
            entry = self.opened[action.request.identity]
            if isinstance(action, Submit):
                healthy -= 1
                if not self._submit(entry, fault if healthy == -1 else None):
                    return
            elif isinstance(action, Collect | Invoke):
                self._launch_run(entry)
            elif isinstance(action, Stop):
                self.bedrock.names[action.job.name].move(JobStatus.STOPPING)
            else:
                self._close(action)

    def _submit(self, entry: Open, fault: Fault | None) -> bool:
        """Whether the tick goes on."""
        if fault is Fault.REJECTED and self.job_of(entry.request) is not None:
            fault = None  # the call finds the job of a lost response
        if fault is not None:
            self.moments[f"create {fault}"] += 1
        if fault is Fault.REJECTED:
            self._launch_run(entry)
            return True
        if fault in (Fault.REFUSED, Fault.CRASHED):
            return False
        fake, existed = self.bedrock.create(name_of(entry.request), content(entry.request), self.now, self.lag)
        self.moments[ADOPTED] += existed
        fake.noted |= fault is None
        fake.orphaned = False
        return fault is None

    def _launch_run(self, entry: Open) -> None:
        if entry.n_crashes == RUN_TRIES:
            self.moments["gave up after crashes"] += 1
            self.done(entry, "failed")
        else:
            entry.running = True

    def _close(self, action: Close) -> None:
        fake = self.job_of(action.request)
        if fake is not None and not self.sees(fake):
            fake.orphaned = True
            self.moments["closed before its job was listed"] += 1
        self.done(self.opened[action.request.identity], "withdrawn")

    def ask(self, request: Request) -> None:
        """
        Record a request. It replaces an open one for the shard, which stays on as a stale one if its prompts differ.

        What was noted of the replaced one's job is forgotten: only a list tells of it.
        """
        self.n_requests += 1
        request = replace(request, storage_id=self.n_requests)
        shard = request.pipeline, request.shard
        former = self.latest.get(shard)
        if former is not None and former[0].identity in self.opened:
            same = former[0].fingerprint == request.fingerprint
            self.moments["asked again for the same" if same else "asked for new prompts"] += 1
            if (fake := self.job_of(former[0])) is not None:
                fake.noted = False
            if same:
                del self.opened[former[0].identity]
        self.latest[shard] = request, "open"
        self.opened[request.identity] = Open(request)

    def done(self, entry: Open, outcome: str) -> None:
        """A request is over."""
        del self.opened[entry.request.identity]
        self.moments[outcome] += 1
        shard = entry.request.pipeline, entry.request.shard
        if self.latest[shard][0] == entry.request:
            self.latest[shard] = entry.request, outcome

    def launch(self, pipeline: str, shard: str, run_id: str) -> None:
        """Ask for a shard as a launched run does: a new attempt after a failure, else the same content again."""
        request = Request(pipeline, shard, f"v{self.prompts[pipeline, shard]}", 1, "key", 100, run_id)
        former, outcome = self.latest.get((pipeline, shard), (None, ""))
        if former is not None and former.fingerprint == request.fingerprint:
            more = outcome in ("failed", "withdrawn") and self.job_of(former) is not None
            self.moments[f"launched again after {outcome}"] += 1
            request = replace(request, attempt=former.attempt + more, inference_mode=former.inference_mode)
        self.ask(request)

    def end_run(self, entry: Open, *, crash: bool, on_demand: bool) -> None:
        """A run of a request is over: it answers it, fails it, asks for the next attempt, or has crashed."""
        entry.running = False
        fake = self.job_of(entry.request)
        if crash:
            self.moments["run crashed"] += 1
            entry.n_crashes, entry.rests_until = entry.n_crashes + 1, self.now + REST + 1
        elif self.status(entry.request) is RequestStatus.STALE:
            self.moments["run of a stale request"] += 1
        elif entry.request.inference_mode is InferenceMode.ON_DEMAND:
            self.done(entry, "answered")
        elif fake is None or fake.job.status in (JobStatus.FAILED, JobStatus.STOPPED):
            self.done(entry, "failed")
        elif fake.job.status in CUT_SHORT and entry.request.attempt < MOST_ATTEMPTS:
            self.done(entry, "answered in part")
            inference_mode = InferenceMode.ON_DEMAND if on_demand else InferenceMode.BATCH
            self.ask(replace(entry.request, attempt=entry.request.attempt + 1, inference_mode=inference_mode))
        else:
            self.done(entry, "answered")


def name_of(request: Request) -> str:
    """The name of the request's job."""
    return job_name(request.pipeline, request.shard, request.fingerprint, request.attempt, "s3://bucket/")
