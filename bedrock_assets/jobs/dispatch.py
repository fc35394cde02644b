"""One tick of the sensor: look at the log and at Bedrock, plan, submit what fits, ask for runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.audit import Effect, announced
from bedrock_assets.aws.batch import NewJob
from bedrock_assets.aws.job import Job
from bedrock_assets.aws.regions import Place, Places
from bedrock_assets.config.target import Target
from bedrock_assets.errors import BedrockError, BedrockUnavailable, StoreError
from bedrock_assets.jobs.canary import OPEN, Gate, canary_of, gate_of, is_canary
from bedrock_assets.jobs.collect_runs import JOB_TAG, LANE_TAG, REFUSAL_TAG, TRIES, Launches, Tries
from bedrock_assets.jobs.ledger import Ledger, State
from bedrock_assets.jobs.observe import Census, pool_limit
from bedrock_assets.jobs.reconcile import MOST_SUBMISSIONS, Action, Close, Collect, Invoke, Room, Stop, Submit, plan
from bedrock_assets.jobs.request import Request, Route, Standing, name_of, output_uri
from bedrock_assets.pipeline.records import Pipeline
from bedrock_assets.pipeline.workload import Work
from bedrock_assets.storage.manifests import Lane
from bedrock_assets.storage.store import Store

_CANCELLED = (DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING)
STALE = "its prompts have changed since, or its shard is planned no longer; its answers are not joined"


@dataclass
class Tick:
    """One pass over the pipelines and inboxes of a code location."""

    instance: DagsterInstance
    pipelines: Mapping[str, Work]
    ledgers: Mapping[str, Ledger]
    places: Places
    launches: Launches
    notes: list[str] = field(default_factory=list)
    _n_tried: int = 0
    """Jobs that it tried to create."""
    _gates: dict[str, Gate] = field(default_factory=dict)
    """By pipeline, what its canary says of the other shards."""

    @property
    def store(self) -> Store:
        """Where the data is."""
        return self.places.store

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
        works = [self.pipelines[name] for name in sorted({request.pipeline for request in requests})]
        pools = {pool for work in works for pool in work.spec.pools}
        sharing = [work for work in self.pipelines.values() if pools & {*work.spec.pools}]
        self._work(works, requests, Census.take(self.places, sharing))

    def _requests(self) -> list[Request]:
        """All that is open, and what was replaced while it was, each with its standing."""
        requests = [entry.request for ledger in self.ledgers.values() for entry in ledger.open_entries]
        requests += [entry.request for ledger in self.ledgers.values() for entry in ledger.replaced.values()]
        run_ids = sorted({request.run_id for request in requests})
        cancelled: set[str] = set()
        if run_ids:
            runs = self.instance.get_run_records(RunsFilter(run_ids=run_ids, statuses=list(_CANCELLED)))
            cancelled = {record.dagster_run.run_id for record in runs}
        return [replace(request, standing=self._standing(request, cancelled)) for request in requests]

    def _standing(self, request: Request, cancelled: set[str]) -> Standing:
        standing = self.ledgers[request.pipeline].standing(request)
        if standing is not Standing.STALE and request.run_id in cancelled:
            return Standing.WITHDRAWN
        holds = standing is Standing.WANTED and self._gate(request).waits
        return Standing.HELD if holds else standing

    def _gate(self, request: Request) -> Gate:
        pipeline, ledger = self.pipelines[request.pipeline], self.ledgers[request.pipeline]
        if not isinstance(pipeline, Pipeline) or pipeline.spec.canary is None or is_canary(request.shard):
            return OPEN
        if request.pipeline not in self._gates:
            self._gates[request.pipeline] = gate_of(self.store, pipeline, ledger, canary_of(request.shard))
        return self._gates[request.pipeline]

    def _work(self, works: Sequence[Work], requests: Sequence[Request], census: Census) -> None:
        self.notes += [f"{place} cannot be asked now: {reason}" for place, reason in census.unseen.items()]
        jobs = census.jobs_of(requests, self.pipelines, self.ledgers)
        requests = [request for request in requests if not self._left_alone(request, census)]
        tries = self.launches.tries([request for request in requests if self._answerable(request, jobs)])
        n_free, done = self._slots(works, requests, census, jobs), set[str]()
        busy = {identity for identity, found in tries.items() if found.busy}
        routes = {work.spec.name: census.routes(work) for work in works}
        while True:
            actions = plan(
                requests,
                jobs,
                Room(n_free, routes, MOST_SUBMISSIONS - self._n_tried),
                collecting=busy | done,
                leave_cancelled=[work.spec.name for work in works if work.spec.on_cancel == "leave"],
                leave_stale=[work.spec.name for work in works if work.leaves_stale],
            )
            full = self._carry_out([a for a in actions if a.request.identity not in done], tries, n_free, done)
            if not full:
                return
            n_free |= dict.fromkeys(full, 0)  # what would have gone there may go elsewhere

    def _slots(
        self, works: Sequence[Work], requests: Sequence[Request], census: Census, jobs: Mapping[str, Job]
    ) -> dict[str, int]:
        """Free slots by pool, with a note on each."""
        everybody, n_free = list(self.pipelines.values()), dict[str, int]()
        for pool in sorted({pool for work in works for pool in work.spec.pools}):
            taken, n_slots = census.n_in_flight(pool, everybody, jobs), pool_limit(self.instance, pool, everybody)
            n_free[pool] = 0 if taken is None else max(0, n_slots - taken)
            n_open = sum(pool in self.pipelines[request.pipeline].spec.pools for request in requests)
            told = "of slots nobody knows how many are taken" if taken is None else f"{taken} of {n_slots} slots taken"
            self.notes.append(f"pool {pool}: {told}, {n_open} shards open")
        n_held = sum(request.standing is Standing.HELD and request.identity not in jobs for request in requests)
        n_behind = sum(self._gate(request).waits and request.identity not in jobs for request in requests)
        self.notes += [f"{n_behind} wait for their canary"] if n_behind else []
        if n_held > n_behind:
            told = "held: raw_dataset is newer than their prompts; materialize prompt_shards"
            self.notes.append(f"{n_held - n_behind} {told}")
        return n_free

    def _left_alone(self, request: Request, census: Census) -> bool:
        """Whether nobody knows of the job that a request may have: another could be paid twice."""
        doubt = census.doubts.get(request.identity)
        if doubt is None or (request.standing in (Standing.STALE, Standing.WITHDRAWN) and not doubt.passes):
            return False
        left = "is left alone for now" if doubt.passes else "is left alone until its run is cancelled"
        self.notes.append(f"{request.identity} {left}: {doubt.reason}")
        return True

    def _carry_out(
        self, actions: Sequence[Action], tries: Mapping[str, Tries], n_free: dict[str, int], done: set[str]
    ) -> set[str]:
        """Pools for which no more jobs are created now; what was to be submitted there is not *done*."""
        full = set[str]()
        for action in actions:
            if not isinstance(action, Submit) or self._gate(action.request).refusal:
                self._do(action, tries.get(action.request.identity, Tries()))
            elif action.route.pool in full:
                continue
            else:
                n_free[action.route.pool] -= 1
                full |= set[str]() if self._submit(action.request, action.route) else {action.route.pool}
            done.add(action.request.identity)
        return full

    def _do(self, action: Action, had: Tries) -> None:
        match action:
            case Collect(request, job):
                self._launch(request, had, {JOB_TAG: job.arn})
            case Submit(request) | Invoke(request) if self._gate(request).refusal:
                self._refuse(request, self._gate(request).refusal)
            case Invoke(request):
                self._launch(request, had, {LANE_TAG: request.lane.value})
            case Stop(request, job):
                self._stop(request, job)
            case Close(request, job):
                self._close(request, job)
            case _:
                pass

    def _submit(self, request: Request, route: Route) -> bool:
        """Whether there is any use in submitting more by this route in this tick."""
        work, name = self.pipelines[request.pipeline], name_of(self.store, request)
        target = next(target for target in work.spec.targets if target.name == route.target)
        place, routed = self.places.at(target), replace(request, target=route.target)
        if not request.target and len(self.places.used_by(work.spec.targets).all) > 1:
            self._log(routed, State.ROUTED)
        self._n_tried += 1
        try:
            arn = self._create(work, request, target, place)
        except (BedrockUnavailable, StoreError) as error:
            self.notes.append(f"{request.shard} stays pending: {error}")
            return False
        except BedrockError as error:
            self._refuse(request, f"Bedrock refused the job: {error}")
            return True
        self._log(routed, State.SUBMITTED, job_arn=arn)
        self.notes.append(f"submitted {name}" + (f" to {route.target}" if len(work.spec.targets) > 1 else ""))
        return True

    def _create(self, work: Work, request: Request, target: Target, place: Place) -> str:
        """The ARN of the request's job."""
        there = place.store or self.store
        if there is not self.store and not there.exists(request.prompts):
            place.stage(self.store, [request])  # the place was named after the launch
        return place.bedrock.create(
            NewJob(
                name=name_of(self.store, request),
                model=target.model,
                input_uri=there.uri(request.prompts),
                output_uri=output_uri(there, request) + "/",
                model_invocation_type=work.spec.model_invocation_type,
                timeout_hours=work.spec.timeout_hours,
                pipeline=work.spec.name,
                tags=work.spec.tags,
            )
        )

    def _refuse(self, request: Request, reason: str) -> None:
        """Let a run fail the partition and tell why."""
        self.ledgers[request.pipeline].refused.add(request.identity)
        had = self.launches.tries([request]).get(request.identity, Tries())
        if not had.busy:
            self._launch(request, had, {REFUSAL_TAG: reason[:1000]})

    def _stop(self, request: Request, job: Job) -> None:
        try:
            self.places.stop(job.arn)
        except BedrockError as error:
            self.notes.append(f"{job.name} could not be stopped, the next tick tries again: {error}")
        else:
            self.notes.append(f"stopped {job.name}: the request for it is {request.standing}")

    def _answerable(self, request: Request, jobs: Mapping[str, Job]) -> bool:
        """Whether a run may be under way for a request."""
        job = jobs.get(request.identity)
        if job is not None:
            return not job.status.in_flight
        return request.lane is Lane.ON_DEMAND or request.identity in self.ledgers[request.pipeline].refused

    def _launch(self, request: Request, had: Tries, tags: Mapping[str, str]) -> None:
        if not had.exhausted:
            self.launches.ask(request, had, tags)
            return
        message = f"{TRIES} runs that were to bring the answers have crashed; see those tagged {request.identity}"
        self._log(request, State.FAILED, message=message, **({"job_arn": tags[JOB_TAG]} if JOB_TAG in tags else {}))

    def _close(self, request: Request, job: Job | None) -> None:
        replaced = self.ledgers[request.pipeline].replaced
        if request.identity in replaced:
            del replaced[request.identity]  # the shard's entry is the later request's
            return
        facts = {"job_arn": job.arn} if job else {}
        if request.standing is Standing.STALE:
            self._log(request, State.FAILED, message=f"the request is stale: {STALE}", **facts)
        else:
            self._log(request, State.WITHDRAWN, **facts)

    def _log(self, request: Request, state: State, **facts: str) -> None:
        with announced(Effect.RECORD, state):
            self.instance.report_runless_asset_event(self.ledgers[request.pipeline].record(request, state, **facts))
