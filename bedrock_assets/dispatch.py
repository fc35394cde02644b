"""One tick of the sensor: look at the log and at Bedrock, plan, submit what fits, ask for runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.bedrock import Bedrock, NewJob
from bedrock_assets.campaign import Job, Lane, Request, Standing
from bedrock_assets.canary import OPEN, Gate, canary_of, gate_of, is_canary
from bedrock_assets.census import Census, name_of, output_uri, pool_limit
from bedrock_assets.effects import Effect, announced
from bedrock_assets.errors import BedrockError, BedrockUnavailable
from bedrock_assets.launches import JOB_TAG, LANE_TAG, REFUSAL_TAG, TRIES, Launches, Tries
from bedrock_assets.ledger import Ledger, State
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.reconcile import Action, Close, Collect, Invoke, Stop, Submit, plan
from bedrock_assets.store import Store
from bedrock_assets.work import Work

_CANCELLED = (DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING)
STALE = "its prompts have changed since, or its shard is planned no longer; its answers are not joined"


@dataclass
class Tick:
    """One pass over the pipelines and inboxes of a code location."""

    instance: DagsterInstance
    pipelines: Mapping[str, Work]
    ledgers: Mapping[str, Ledger]
    store: Store
    bedrock: Bedrock
    launches: Launches
    notes: list[str] = field(default_factory=list)
    _gates: dict[str, Gate] = field(default_factory=dict)
    """By pipeline, what its canary says of the other shards."""

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
        census = Census.take(self.bedrock, self.store)
        for pool in sorted({self.pipelines[request.pipeline].spec.pool for request in requests}):
            self._pool(pool, [r for r in requests if self.pipelines[r.pipeline].spec.pool == pool], census)

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

    def _pool(self, pool: str, requests: Sequence[Request], census: Census) -> None:
        members = [pipeline for pipeline in self.pipelines.values() if pipeline.spec.pool == pool]
        jobs = census.jobs_of(requests, self.ledgers)
        requests = [request for request in requests if not self._left_alone(request, census)]
        n_in_flight, n_slots = census.n_in_flight(members, jobs), pool_limit(self.instance, pool, members)
        tries = self.launches.tries([request for request in requests if self._answerable(request, jobs)])
        actions = plan(
            requests,
            jobs,
            n_in_flight=n_in_flight,
            n_slots=n_slots,
            collecting={identity for identity, found in tries.items() if found.busy},
            leave_cancelled=[member.spec.name for member in members if member.spec.on_cancel == "leave"],
            leave_stale=[member.spec.name for member in members if member.leaves_stale],
        )
        n_held = sum(request.standing is Standing.HELD and request.identity not in jobs for request in requests)
        n_behind = sum(self._gate(request).waits and request.identity not in jobs for request in requests)
        held = f", {n_behind} wait for their canary" if n_behind else ""
        if n_held > n_behind:
            held += f", {n_held - n_behind} held: raw_dataset is newer than their prompts; materialize prompt_shards"
        self.notes.append(f"pool {pool}: {n_in_flight} of {n_slots} slots taken, {len(requests)} shards open{held}")
        self._carry_out(actions, tries)

    def _left_alone(self, request: Request, census: Census) -> bool:
        """Whether Bedrock does not tell of the job that was created for a request: another could be paid twice."""
        reason = census.unknown.get(request.identity)
        if reason is None or request.standing in (Standing.STALE, Standing.WITHDRAWN):
            return False
        self.notes.append(f"{request.identity} is left alone until its run is cancelled: {reason}")
        return True

    def _carry_out(self, actions: Sequence[Action], tries: Mapping[str, Tries]) -> None:
        full = False
        for action in actions:
            had = tries.get(action.request.identity, Tries())
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
                case Submit(request) if not full:
                    full = not self._submit(request)
                case _:
                    pass

    def _submit(self, request: Request) -> bool:
        """Whether there is any use in submitting more in this tick."""
        spec, name = self.pipelines[request.pipeline].spec, name_of(self.store, request)
        try:
            arn = self.bedrock.create(
                NewJob(
                    name=name,
                    model=spec.model,
                    input_uri=self.store.uri(request.prompts),
                    output_uri=output_uri(self.store, request) + "/",
                    model_invocation_type=spec.model_invocation_type,
                    timeout_hours=spec.timeout_hours,
                    pipeline=spec.name,
                    tags=spec.tags,
                )
            )
        except BedrockUnavailable as error:
            self.notes.append(f"{request.shard} stays pending: {error}")
            return False
        except BedrockError as error:
            self._refuse(request, f"Bedrock refused the job: {error}")
            return True
        self._log(request, State.SUBMITTED, job_arn=arn)
        self.notes.append(f"submitted {name}")
        return True

    def _refuse(self, request: Request, reason: str) -> None:
        """Let a run fail the partition and tell why."""
        self.ledgers[request.pipeline].refused.add(request.identity)
        had = self.launches.tries([request]).get(request.identity, Tries())
        if not had.busy:
            self._launch(request, had, {REFUSAL_TAG: reason[:1000]})

    def _stop(self, request: Request, job: Job) -> None:
        try:
            self.bedrock.stop(job.arn)
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
