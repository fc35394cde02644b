"""One tick of the sensor: look at the event log and at Bedrock, then carry out what the reconciler plans."""

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.regions import JobDraft, Regions
from bedrock_assets.config.pipeline import WorkloadSpec
from bedrock_assets.errors import BedrockError, BedrockUnavailable, StoreError
from bedrock_assets.jobs.canary import OPEN_GATE, CanaryGate, canary_gate, canary_of, is_canary
from bedrock_assets.jobs.collect_runs import JOB_TAG, MAX_RUNS, MODE_TAG, REFUSAL_TAG, CollectRuns, RunAttempts
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.observe import JobsByRequest, ObservedJobs, pool_limit
from bedrock_assets.jobs.reconcile import Action, Capacity, Close, Collect, Invoke, Refuse, Stop, Submit, plan
from bedrock_assets.jobs.shard_request import Request, RequestStatus, SubmitOption
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store

_CANCELLED = (DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING)
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
    _gates: dict[str, CanaryGate] = field(default_factory=dict)
    """By pipeline, what its canary says of the other shards."""

    @property
    def store(self) -> Store:
        """Where the data is."""
        return self.regions.store

    def run(self) -> None:
        """
        Carry out one tick. `notes` says what was done; `collect_runs` has the runs that Dagster is to launch.

        Raises:
            BedrockUnavailable: Bedrock is not reachable; nothing was changed.
        """
        requests = self._requests()
        if not requests:
            self.notes.append("no shard waits for answers")
            return
        specs = [self.workloads[name].spec for name in sorted({request.pipeline for request in requests})]
        pools = {pool for spec in specs for pool in spec.pools}
        sharing = [workload.spec for workload in self.workloads.values() if pools & {*workload.spec.pools}]
        self._reconcile(specs, requests, ObservedJobs.observe(self.regions, sharing))

    def _requests(self) -> list[Request]:
        """All open requests, and those that were replaced while they were open, each with its status."""
        requests = [entry.request for ledger in self.ledgers.values() for entry in ledger.open_entries]
        requests += [entry.request for ledger in self.ledgers.values() for entry in ledger.replaced.values()]
        run_ids = sorted({request.run_id for request in requests})
        cancelled: set[str] = set()
        if run_ids:
            runs = self.instance.get_run_records(RunsFilter(run_ids=run_ids, statuses=list(_CANCELLED)))
            cancelled = {record.dagster_run.run_id for record in runs}
        return [replace(request, status=self._status_of(request, cancelled)) for request in requests]

    def _status_of(self, request: Request, cancelled: Collection[str]) -> RequestStatus:
        status = self.ledgers[request.pipeline].status_of(request)
        if status is not RequestStatus.STALE and request.run_id in cancelled:
            return RequestStatus.WITHDRAWN
        waits_for_canary = status is RequestStatus.WANTED and self._gate(request).waits
        return RequestStatus.ON_HOLD if waits_for_canary else status

    def _gate(self, request: Request) -> CanaryGate:
        workload, ledger = self.workloads[request.pipeline], self.ledgers[request.pipeline]
        if workload.canary is None or is_canary(request.shard):
            return OPEN_GATE
        if request.pipeline not in self._gates:
            self._gates[request.pipeline] = canary_gate(self.store, workload, ledger, canary_of(request.shard))
        return self._gates[request.pipeline]

    def _reconcile(self, specs: Sequence[WorkloadSpec], requests: Sequence[Request], observed: ObservedJobs) -> None:
        self.notes += [f"{region} is not reachable: {reason}" for region, reason in observed.unreachable.items()]
        jobs = observed.jobs_of(requests, {name: one.spec for name, one in self.workloads.items()}, self.ledgers)
        requests = [request for request in requests if not self._is_left_alone(request, observed)]
        refused = {r.identity: reason for r in requests if (reason := self._gate(r).refusal)}
        candidates = [request for request in requests if self._may_have_run(request, jobs, refused)]
        attempts = self.collect_runs.attempts(candidates)
        options = {spec.name: observed.submit_options(spec) for spec in specs}
        actions = plan(
            requests,
            jobs,
            Capacity(self._free_slots(specs, requests, observed, jobs), options),
            collecting={identity for identity, attempt in attempts.items() if attempt.busy},
            refused=refused,
            leave_cancelled=[spec.name for spec in specs if spec.on_cancel == "leave"],
            leave_stale=[spec.name for spec in specs if self.workloads[spec.name].leaves_stale],
        )
        self._carry_out(actions, attempts)

    def _free_slots(
        self, specs: Sequence[WorkloadSpec], requests: Sequence[Request], observed: ObservedJobs, jobs: JobsByRequest
    ) -> dict[str, int]:
        """Free slots by pool, with a note on each."""
        all_specs, n_free = [workload.spec for workload in self.workloads.values()], dict[str, int]()
        for pool in sorted({pool for spec in specs for pool in spec.pools}):
            n_taken, n_slots = observed.n_in_flight(pool, all_specs, jobs), pool_limit(self.instance, pool, all_specs)
            n_free[pool] = 0 if n_taken is None else max(0, n_slots - n_taken)
            n_open = sum(pool in self.workloads[request.pipeline].spec.pools for request in requests)
            in_use = "slots in use: unknown" if n_taken is None else f"{n_taken} of {n_slots} slots in use"
            self.notes.append(f"pool {pool}: {in_use}, {n_open} shards open")
        pending = [request for request in requests if request.identity not in jobs]
        n_behind_canary = sum(self._gate(request).waits for request in pending)
        n_on_hold = sum(request.status is RequestStatus.ON_HOLD for request in pending) - n_behind_canary
        self.notes += [f"{n_behind_canary} shards wait for their canary"] if n_behind_canary else []
        if n_on_hold > 0:
            reason = "raw_dataset is newer than their prompts; materialize prompt_shards"
            self.notes.append(f"{n_on_hold} shards on hold: {reason}")
        return n_free

    def _is_left_alone(self, request: Request, observed: ObservedJobs) -> bool:
        """Whether it is not known if the request has a job: another one could be paid twice."""
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

    def _carry_out(self, actions: Generator[Action, bool | None, None], attempts: Mapping[str, RunAttempts]) -> None:
        pool_is_open: bool | None = None
        with suppress(StopIteration):
            while True:
                action = actions.send(pool_is_open)
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
        self._log(routed, RequestState.SUBMITTED, job_arn=arn)
        self.notes.append(f"submitted {name}" + (f" to {option.where}" if len(spec.targets) > 1 else ""))
        return True

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

    def _log(self, request: Request, state: RequestState, **metadata: str) -> None:
        self.ledgers[request.pipeline].log(self.instance.report_runless_asset_event, request, state, **metadata)
