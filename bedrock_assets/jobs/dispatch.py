"""One tick of the sensor: look at the log and at Bedrock, plan, submit what fits, ask for runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.audit import Effect, announced
from bedrock_assets.aws.batch import NewJob
from bedrock_assets.aws.job import Job
from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.config.target import Target
from bedrock_assets.errors import BedrockError, BedrockUnavailable, StoreError
from bedrock_assets.jobs.canary import OPEN_GATE, CanaryGate, canary_gate, canary_of, is_canary
from bedrock_assets.jobs.collect_runs import JOB_TAG, MAX_RUNS, MODE_TAG, REFUSAL_TAG, CollectRuns, RunAttempts
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.observe import ObservedJobs, pool_limit
from bedrock_assets.jobs.reconcile import MAX_SUBMISSIONS, Action, Capacity, Close, Collect, Invoke, Stop, Submit, plan
from bedrock_assets.jobs.request import Request, RequestStatus, SubmitOption, name_of, output_uri
from bedrock_assets.pipeline.records import Pipeline
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store

_CANCELLED = (DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING)
STALE = "its prompts have changed since, or its shard is planned no longer; its answers are not joined"


@dataclass
class Tick:
    """One pass over the pipelines and inboxes of a code location."""

    instance: DagsterInstance
    pipelines: Mapping[str, Workload]
    ledgers: Mapping[str, Ledger]
    regions: Regions
    collect_runs: CollectRuns
    notes: list[str] = field(default_factory=list)
    _n_tried: int = 0
    """Jobs that it tried to create."""
    _gates: dict[str, CanaryGate] = field(default_factory=dict)
    """By pipeline, what its canary says of the other shards."""

    @property
    def store(self) -> Store:
        """Where the data is."""
        return self.regions.store

    def run(self) -> None:
        """
        Carry out one tick; what it did stands in `notes`, what Dagster shall run in `launches`.

        Raises:
            BedrockUnavailable: Bedrock cannot be asked now; nothing was changed.
        """
        requests = self._requests()
        if not requests:
            self.notes.append("no shard waits for answers")
            return
        workloads = [self.pipelines[name] for name in sorted({request.pipeline for request in requests})]
        pools = {pool for workload in workloads for pool in workload.spec.pools}
        sharing = [workload for workload in self.pipelines.values() if pools & {*workload.spec.pools}]
        self._work(workloads, requests, ObservedJobs.take(self.regions, sharing))

    def _requests(self) -> list[Request]:
        """All that is open, and what was replaced while it was, each with its standing."""
        requests = [entry.request for ledger in self.ledgers.values() for entry in ledger.open_entries]
        requests += [entry.request for ledger in self.ledgers.values() for entry in ledger.replaced.values()]
        run_ids = sorted({request.run_id for request in requests})
        cancelled: set[str] = set()
        if run_ids:
            runs = self.instance.get_run_records(RunsFilter(run_ids=run_ids, statuses=list(_CANCELLED)))
            cancelled = {record.dagster_run.run_id for record in runs}
        return [replace(request, status=self._status_of(request, cancelled)) for request in requests]

    def _status_of(self, request: Request, cancelled: set[str]) -> RequestStatus:
        status = self.ledgers[request.pipeline].status_of(request)
        if status is not RequestStatus.STALE and request.run_id in cancelled:
            return RequestStatus.WITHDRAWN
        holds = status is RequestStatus.WANTED and self._gate(request).waits
        return RequestStatus.ON_HOLD if holds else status

    def _gate(self, request: Request) -> CanaryGate:
        pipeline, ledger = self.pipelines[request.pipeline], self.ledgers[request.pipeline]
        if not isinstance(pipeline, Pipeline) or pipeline.spec.canary is None or is_canary(request.shard):
            return OPEN_GATE
        if request.pipeline not in self._gates:
            self._gates[request.pipeline] = canary_gate(self.store, pipeline, ledger, canary_of(request.shard))
        return self._gates[request.pipeline]

    def _work(self, workloads: Sequence[Workload], requests: Sequence[Request], observed: ObservedJobs) -> None:
        self.notes += [f"{region} cannot be asked now: {reason}" for region, reason in observed.unreachable.items()]
        jobs = observed.jobs_of(requests, self.pipelines, self.ledgers)
        requests = [request for request in requests if not self._left_alone(request, observed)]
        tries = self.collect_runs.tries([request for request in requests if self._answerable(request, jobs)])
        n_free, done = self._slots(workloads, requests, observed, jobs), set[str]()
        busy = {identity for identity, found in tries.items() if found.busy}
        submit_options = {workload.spec.name: observed.submit_options(workload) for workload in workloads}
        while True:
            actions = plan(
                requests,
                jobs,
                Capacity(n_free, submit_options, MAX_SUBMISSIONS - self._n_tried),
                collecting=busy | done,
                leave_cancelled=[workload.spec.name for workload in workloads if workload.spec.on_cancel == "leave"],
                leave_stale=[workload.spec.name for workload in workloads if workload.leaves_stale],
            )
            full = self._carry_out([a for a in actions if a.request.identity not in done], tries, n_free, done)
            if not full:
                return
            n_free |= dict.fromkeys(full, 0)  # what would have gone there may go elsewhere

    def _slots(
        self,
        workloads: Sequence[Workload],
        requests: Sequence[Request],
        observed: ObservedJobs,
        jobs: Mapping[str, Job],
    ) -> dict[str, int]:
        """Free slots by pool, with a note on each."""
        everybody, n_free = list(self.pipelines.values()), dict[str, int]()
        for pool in sorted({pool for workload in workloads for pool in workload.spec.pools}):
            taken, n_slots = observed.n_in_flight(pool, everybody, jobs), pool_limit(self.instance, pool, everybody)
            n_free[pool] = 0 if taken is None else max(0, n_slots - taken)
            n_open = sum(pool in self.pipelines[request.pipeline].spec.pools for request in requests)
            told = "of slots nobody knows how many are taken" if taken is None else f"{taken} of {n_slots} slots taken"
            self.notes.append(f"pool {pool}: {told}, {n_open} shards open")
        n_held = sum(request.status is RequestStatus.ON_HOLD and request.identity not in jobs for request in requests)
        n_behind = sum(self._gate(request).waits and request.identity not in jobs for request in requests)
        self.notes += [f"{n_behind} wait for their canary"] if n_behind else []
        if n_held > n_behind:
            told = "held: raw_dataset is newer than their prompts; materialize prompt_shards"
            self.notes.append(f"{n_held - n_behind} {told}")
        return n_free

    def _left_alone(self, request: Request, observed: ObservedJobs) -> bool:
        """Whether nobody knows of the job that a request may have: another could be paid twice."""
        doubt = observed.unknown.get(request.identity)
        if doubt is None or (request.status in (RequestStatus.STALE, RequestStatus.WITHDRAWN) and not doubt.transient):
            return False
        left = "is left alone for now" if doubt.transient else "is left alone until its run is cancelled"
        self.notes.append(f"{request.identity} {left}: {doubt.reason}")
        return True

    def _carry_out(
        self, actions: Sequence[Action], tries: Mapping[str, RunAttempts], n_free: dict[str, int], done: set[str]
    ) -> set[str]:
        """Pools for which no more jobs are created now; what was to be submitted there is not *done*."""
        full = set[str]()
        for action in actions:
            if not isinstance(action, Submit) or self._gate(action.request).refusal:
                self._do(action, tries.get(action.request.identity, RunAttempts()))
            elif action.option.pool in full:
                continue
            else:
                n_free[action.option.pool] -= 1
                full |= set[str]() if self._submit(action.request, action.option) else {action.option.pool}
            done.add(action.request.identity)
        return full

    def _do(self, action: Action, had: RunAttempts) -> None:
        match action:
            case Collect(request, job):
                self._launch(request, had, {JOB_TAG: job.arn})
            case Submit(request) | Invoke(request) if self._gate(request).refusal:
                self._refuse(request, self._gate(request).refusal)
            case Invoke(request):
                self._launch(request, had, {MODE_TAG: request.inference_mode.value})
            case Stop(request, job):
                self._stop(request, job)
            case Close(request, job):
                self._close(request, job)
            case _:
                pass

    def _submit(self, request: Request, option: SubmitOption) -> bool:
        """Whether there is any use in submitting more by this route in this tick."""
        workload, name = self.pipelines[request.pipeline], name_of(self.store, request)
        target = next(target for target in workload.spec.targets if target.name == option.target)
        region, routed = self.regions.at(target), replace(request, target=option.target)
        if not request.target and len(self.regions.used_by(workload.spec.targets).all) > 1:
            self._log(routed, RequestState.ROUTED)
        self._n_tried += 1
        try:
            arn = self._create(workload, request, target, region)
        except (BedrockUnavailable, StoreError) as error:
            self.notes.append(f"{request.shard} stays pending: {error}")
            return False
        except BedrockError as error:
            self._refuse(request, f"Bedrock refused the job: {error}")
            return True
        self._log(routed, RequestState.SUBMITTED, job_arn=arn)
        self.notes.append(f"submitted {name}" + (f" to {option.target}" if len(workload.spec.targets) > 1 else ""))
        return True

    def _create(self, workload: Workload, request: Request, target: Target, region: Region) -> str:
        """The ARN of the request's job."""
        there = region.store or self.store
        if there is not self.store and not there.exists(request.prompts):
            region.stage(self.store, [request])  # the place was named after the launch
        return region.bedrock.create(
            NewJob(
                name=name_of(self.store, request),
                model=target.model,
                input_uri=there.uri(request.prompts),
                output_uri=output_uri(there, request) + "/",
                model_invocation_type=workload.spec.model_invocation_type,
                timeout_hours=workload.spec.timeout_hours,
                pipeline=workload.spec.name,
                tags=workload.spec.tags,
            )
        )

    def _refuse(self, request: Request, reason: str) -> None:
        """Let a run fail the partition and tell why."""
        self.ledgers[request.pipeline].refused.add(request.identity)
        had = self.collect_runs.tries([request]).get(request.identity, RunAttempts())
        if not had.busy:
            self._launch(request, had, {REFUSAL_TAG: reason[:1000]})

    def _stop(self, request: Request, job: Job) -> None:
        try:
            self.regions.stop(job.arn)
        except BedrockError as error:
            self.notes.append(f"{job.name} could not be stopped, the next tick tries again: {error}")
        else:
            self.notes.append(f"stopped {job.name}: the request for it is {request.status}")

    def _answerable(self, request: Request, jobs: Mapping[str, Job]) -> bool:
        """Whether a run may be under way for a request."""
        job = jobs.get(request.identity)
        if job is not None:
            return not job.status.in_flight
        return (
            request.inference_mode is InferenceMode.ON_DEMAND
            or request.identity in self.ledgers[request.pipeline].refused
        )

    def _launch(self, request: Request, had: RunAttempts, tags: Mapping[str, str]) -> None:
        if not had.exhausted:
            self.collect_runs.ask(request, had, tags)
            return
        message = f"{MAX_RUNS} runs that were to bring the answers have crashed; see those tagged {request.identity}"
        self._log(
            request, RequestState.FAILED, message=message, **({"job_arn": tags[JOB_TAG]} if JOB_TAG in tags else {})
        )

    def _close(self, request: Request, job: Job | None) -> None:
        replaced = self.ledgers[request.pipeline].replaced
        if request.identity in replaced:
            del replaced[request.identity]  # the shard's entry is the later request's
            return
        facts = {"job_arn": job.arn} if job else {}
        if request.status is RequestStatus.STALE:
            self._log(request, RequestState.FAILED, message=f"the request is stale: {STALE}", **facts)
        else:
            self._log(request, RequestState.WITHDRAWN, **facts)

    def _log(self, request: Request, state: RequestState, **facts: str) -> None:
        with announced(Effect.RECORD, state):
            self.instance.report_runless_asset_event(self.ledgers[request.pipeline].record(request, state, **facts))
