"""One tick of the sensor: look at the event log and at Bedrock, then carry out what the reconciler plans."""

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from dagster import DagsterInstance, UrlMetadataValue

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.regions import JobDraft, Regions
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockError, BedrockUnavailable, StoreError
from bedrock_assets.jobs.collect_runs import JOB_TAG, MAX_RUNS, MODE_TAG, REFUSAL_TAG, CollectRuns, RunAttempts
from bedrock_assets.jobs.ledger import Ledger, RequestState, Told
from bedrock_assets.jobs.observe import JobsByRequest, ObservedJobs, pool_limit
from bedrock_assets.jobs.open_requests import OpenRequests
from bedrock_assets.jobs.reconcile import Action, Capacity, Close, Collect, Invoke, Refuse, Stop, Submit, plan
from bedrock_assets.jobs.shard_request import Request, RequestStatus, SubmitOption, on_hold_note
from bedrock_assets.jobs.submit_turn import Turn
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store
from bedrock_assets.units import counted


@dataclass
class Slots:
    """The slots of a pool, which are taken by jobs at Bedrock; Dagster's own page of the pool knows nothing of them."""

    pool: str
    n_taken: int
    n_slots: int

    def __str__(self) -> str:
        return f"{self.n_taken} of {self.n_slots} slots of pool {self.pool} taken"


STALE = "its prompts have changed since, or its shard is no longer planned; its answers are not joined"


@dataclass
class Tick:
    """One pass over the pipelines and inboxes of a code location, by name."""

    instance: DagsterInstance
    workloads: Mapping[str, Workload]
    ledgers: Mapping[str, Ledger]
    regions: Regions
    collect_runs: CollectRuns
    notes: list[str] = field(default_factory=list)
    slots: dict[str, Slots] = field(default_factory=dict)
    """By pool, where they are known."""

    @property
    def store(self) -> Store:
        """Where the data is."""
        return self.regions.store

    @cached_property
    def open(self) -> OpenRequests:
        """The open requests."""
        return OpenRequests(self.instance, self.workloads, self.ledgers, self.store)

    def run(self) -> None:
        """
        Carry out one tick. `notes` says what was done; `collect_runs` has the runs that Dagster is to launch.

        Raises:
            BedrockUnavailable: Bedrock is not reachable; nothing was changed.
        """
        requests = self.open.all
        if not requests:
            self.notes.append("no shard waits for answers")
            return
        self.notes += self.open.notes()
        specs = [self.workloads[name].spec for name in sorted({request.pipeline for request in requests})]
        with self._turn(requests, specs) as turn:
            pools = {pool for spec in specs for pool in spec.pools}
            sharing = [workload.spec for workload in self.workloads.values() if pools & {*workload.spec.pools}]
            self._reconcile(specs, requests, ObservedJobs.observe(self.regions, sharing), turn)

    @contextmanager
    def _turn(self, requests: Sequence[Request], specs: Sequence[WorkloadSpec]) -> Generator[Turn | None]:
        """The turn to create jobs, taken before the slots are counted; None if there is nothing to submit, or it is
        another tick's."""
        turn, pending = None, [request for request in requests if self._may_be_submitted(request)]
        if pending:
            try:
                turn = Turn.take(self.store, specs)
                self.notes += [] if turn else ["another tick creates jobs now; the next one goes on"]
            except StoreError as error:
                self.notes.append(f"no job is created in this tick: {error}")
        try:
            yield turn
        finally:
            if turn:
                with suppress(StoreError):
                    turn.give_back()

    def _may_be_submitted(self, request: Request) -> bool:
        is_batch = request.inference_mode is InferenceMode.BATCH
        state = self.ledgers[request.pipeline].last_event(request).state
        return request.status is RequestStatus.WANTED and is_batch and state is not RequestState.SUBMITTED

    def _reconcile(
        self, specs: Sequence[WorkloadSpec], requests: Sequence[Request], observed: ObservedJobs, turn: Turn | None
    ) -> None:
        self.notes += [f"{region} is not reachable: {reason}" for region, reason in observed.unreachable.items()]
        jobs = observed.jobs_of(requests, {name: one.spec for name, one in self.workloads.items()}, self.ledgers)
        requests = [request for request in requests if not self._is_left_alone(request, observed)]
        refused = {r.identity: reason for r in requests if (reason := self.open.gate(r).refusal)}
        candidates = [request for request in requests if self._may_have_run(request, jobs, refused)]
        attempts = self.collect_runs.attempts(candidates)
        options = {spec.name: observed.submit_options(spec) for spec in specs}
        n_free = self._free_slots(specs, requests, observed, jobs, turn)
        actions = plan(
            requests,
            jobs,
            Capacity(n_free if turn else dict.fromkeys(n_free, 0), options),
            collecting={identity for identity, attempt in attempts.items() if attempt.busy},
            refused=refused,
            leave_cancelled=[spec.name for spec in specs if spec.on_cancel == "leave"],
            leave_stale=[spec.name for spec in specs if self.workloads[spec.name].leaves_stale],
        )
        self._carry_out(actions, attempts, turn)

    def _free_slots(
        self,
        specs: Sequence[WorkloadSpec],
        requests: Sequence[Request],
        observed: ObservedJobs,
        jobs: JobsByRequest,
        turn: Turn | None,
    ) -> dict[str, int]:
        """Free slots by pool, with a note on each."""
        all_specs, n_free = [workload.spec for workload in self.workloads.values()], dict[str, int]()
        for pool in sorted({pool for spec in specs for pool in spec.pools}):
            n_slots = pool_limit(self.instance, pool, all_specs)
            n_taken = observed.n_in_flight(pool, all_specs, jobs, turn)
            n_free[pool] = 0 if n_taken is None else max(0, n_slots - n_taken)
            n_open = sum(pool in self.workloads[request.pipeline].spec.pools for request in requests)
            if n_taken is not None:
                self.slots[pool] = Slots(pool, n_taken, n_slots)
            in_use = "slots in use: unknown" if n_taken is None else f"{n_taken} of {n_slots} slots in use"
            self.notes.append(f"pool {pool}: {in_use}, {counted(n_open, 'shard')} open")
        pending = [request for request in requests if request.identity not in jobs]
        n_gated = sum(self.open.gate(request).waits for request in pending)
        n_on_hold = sum(request.status is RequestStatus.ON_HOLD for request in pending) - n_gated
        self.notes += self.open.notes_on_gates(pending)
        if n_on_hold > 0:
            self.notes.append(on_hold_note(n_on_hold))
        return n_free

    def _is_left_alone(self, request: Request, observed: ObservedJobs) -> bool:
        """Whether no run can end the request, or it may have a job that is not found: another could be paid twice."""
        if request.identity in self.open.deleted:
            return True
        unknown = observed.unknown.get(request.identity)
        dismissed = request.status in (RequestStatus.STALE, RequestStatus.WITHDRAWN)
        if unknown is None or (dismissed and not unknown.transient):
            return False
        until = "for now" if unknown.transient else "until its run is cancelled"
        self.notes.append(f"{request.identity} is left alone {until}: {unknown.reason}")
        return True

    def _may_have_run(self, request: Request, jobs: JobsByRequest, refused: Collection[str]) -> bool:
        """Whether a run may be in progress for a request."""
        job = jobs.get(request.identity)
        if job is not None:
            return not job.status.in_flight
        was_refused = request.identity in refused or request.identity in self.ledgers[request.pipeline].refused
        return was_refused or request.inference_mode is InferenceMode.ON_DEMAND

    def _carry_out(
        self, actions: Generator[Action, bool | None, None], attempts: Mapping[str, RunAttempts], turn: Turn | None
    ) -> None:
        pool_is_open: bool | None = None
        with suppress(StopIteration):
            while True:
                action = actions.send(pool_is_open)
                if isinstance(action, Submit) and not (turn and turn.is_on):
                    self.notes.append("this tick takes too long to create more jobs; the next one goes on")
                    return
                pool_is_open = self._act(action, attempts.get(action.request.identity, RunAttempts()))

    def _act(self, action: Action, attempts: RunAttempts) -> bool:
        """Carry out one action; False if no more jobs can be created in its pool in this tick."""
        match action:
            case Submit(request, option):
                return self._submit(request, option)
            case Collect(request, job):
                self._launch(request, attempts, {JOB_TAG: job.arn})
            case Invoke(request):
                self._launch(request, attempts, {MODE_TAG: request.inference_mode.value})
            case Refuse(request, reason):
                self._refuse(request, reason)
            case Stop(request, job):
                self._stop(request, job)
            case Close(request, job):
                self._close(request, job)
        return True

    def _submit(self, request: Request, option: SubmitOption) -> bool:
        """Create a job; False if no more can be created in its pool in this tick."""
        spec, name = self.workloads[request.pipeline].spec, request.job_name(self.store)
        target = next(target for target in spec.targets if target.name == option.where)
        routed = replace(request, where=option.where)
        if not request.where and len(self.regions.used_by(spec.targets).all) > 1:
            self._log(routed, RequestState.ROUTED)
        draft = JobDraft(
            name=name,
            prompts=request.prompts,
            output_folder=request.output_folder,
            model_invocation_type=spec.model_invocation_type,
            timeout_hours=spec.timeout_hours,
            pipeline=spec.name,
            tags=spec.tags,
        )
        try:
            arn = self.regions.create(target, draft)
        except (BedrockUnavailable, StoreError) as error:
            self.notes.append(f"{request.shard} stays pending: {error}")
            return False
        except BedrockError as error:
            self._refuse(request, f"Bedrock refused the job: {error}")
            return True
        self._log(routed, RequestState.SUBMITTED, **self._told(spec.pool_of(target), arn), job_arn=arn)
        self.notes.append(f"submitted {name}" + (f" to {option.where}" if len(spec.targets) > 1 else ""))
        return True

    def _told(self, pool: str, arn: str) -> dict[str, Told]:
        """What people are told of a job that has just been created."""
        told: dict[str, Told] = {}
        if pool in self.slots:
            self.slots[pool].n_taken += 1
            told["slots"] = str(self.slots[pool])
        page = self.regions.page_of(arn)
        return told | ({"job_console": UrlMetadataValue(page)} if page else {})

    def _refuse(self, request: Request, reason: str) -> None:
        """Let a run fail the partition and say why."""
        self.ledgers[request.pipeline].refused.add(request.identity)
        attempts = self.collect_runs.attempts([request]).get(request.identity, RunAttempts())
        if not attempts.busy:
            self._launch(request, attempts, {REFUSAL_TAG: reason[:1000]})

    def _stop(self, request: Request, job: Job) -> None:
        try:
            self.regions.stop(job.arn)
        except BedrockError as error:
            self.notes.append(f"{job.name} could not be stopped; the next tick tries again: {error}")
        else:
            self.notes.append(f"stopped {job.name}: its request is {request.status}")

    def _launch(self, request: Request, attempts: RunAttempts, tags: Mapping[str, str]) -> None:
        if not attempts.exhausted:
            self.collect_runs.launch(request, attempts, tags)
            return
        message = f"{MAX_RUNS} runs that were to collect the answers have crashed; see the runs tagged "
        arn = {"job_arn": tags[JOB_TAG]} if JOB_TAG in tags else {}
        self._log(request, RequestState.FAILED, message=message + request.identity, **arn)

    def _close(self, request: Request, job: Job | None) -> None:
        replaced = self.ledgers[request.pipeline].replaced
        if request.identity in replaced:
            del replaced[request.identity]  # the shard's entry is the later request's
            return
        arn = {"job_arn": job.arn} if job else {}
        if request.status is RequestStatus.STALE:
            self._log(request, RequestState.FAILED, message=f"the request is stale: {STALE}", **arn)
        else:
            self._log(request, RequestState.WITHDRAWN, **arn)

    def _log(self, request: Request, state: RequestState, **metadata: Told) -> None:
        self.ledgers[request.pipeline].log(self.instance.report_runless_asset_event, request, state, **metadata)
