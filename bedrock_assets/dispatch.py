"""One tick of the sensor: look at the log and at Bedrock, plan, submit what fits, ask for collect runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BulkActionStatus

from bedrock_assets.bedrock import Bedrock, NewJob
from bedrock_assets.campaign import Job, Request, job_name, name_prefix
from bedrock_assets.errors import BedrockError, BedrockUnavailable
from bedrock_assets.ledger import Ledger, State
from bedrock_assets.limits import MAX_TIMEOUT_HOURS
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.reconcile import Action, Close, Collect, Stop, Submit, plan
from bedrock_assets.records import attempt_folder
from bedrock_assets.store import Store

REQUEST_TAG = "bedrock_assets/request"
JOB_TAG = "bedrock_assets/job"
REFUSAL_TAG = "bedrock_assets/refusal"
BACKFILL_TAG = "dagster/backfill"
JOINED_TAG = "bedrock_assets/joined_by_backfill"
"""On collect runs of a backfill that builds the table itself, so that their updates do not build it once more."""

LOOK_BACK = timedelta(hours=MAX_TIMEOUT_HOURS + 24)
"""No job in flight was created earlier: its timeout counts from creation."""
COLLECT_TRIES = 3
"""Collect runs that may crash before the partition is failed."""
_CANCELLED = (DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING)
_UNDER_WAY = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.MANAGED,
)


@dataclass
class Tick:
    """One pass over the pipelines of a code location."""

    instance: DagsterInstance
    pipelines: Mapping[str, Pipeline]
    ledgers: Mapping[str, Ledger]
    store: Store
    bedrock: Bedrock
    run_requests: list[dg.RunRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self) -> None:
        """
        Carry out one tick; what it did stands in `notes`, what Dagster shall run in `run_requests`.

        Raises:
            BedrockUnavailable: Bedrock cannot be asked now; nothing was changed.
        """
        requests = self._requests()
        if not requests:
            self.notes.append("no shard waits for answers")
            return
        recent = {job.name: job for job in self.bedrock.list(since=datetime.now(UTC) - LOOK_BACK)}
        for pool in sorted({self.pipelines[request.pipeline].spec.pool for request in requests}):
            ours = [request for request in requests if self.pipelines[request.pipeline].spec.pool == pool]
            self._pool(pool, ours, recent)

    def _requests(self) -> list[Request]:
        requests = [entry.request for ledger in self.ledgers.values() for entry in ledger.open_entries]
        run_ids = sorted({request.run_id for request in requests})
        cancelled: set[str] = set()
        if run_ids:
            runs = self.instance.get_run_records(RunsFilter(run_ids=run_ids, statuses=list(_CANCELLED)))
            cancelled = {record.dagster_run.run_id for record in runs}
        return [replace(request, withdrawn=request.run_id in cancelled) for request in requests]

    def _pool(self, pool: str, requests: Sequence[Request], recent: Mapping[str, Job]) -> None:
        jobs = self._jobs(requests, recent)
        n_in_flight, n_slots = self._in_flight(pool, jobs, recent), pool_limit(self.instance, pool, self.pipelines)
        ended = [request for request in requests if (job := jobs.get(_key(request))) and not job.status.in_flight]
        collecting, tries = self._collect_runs(ended)
        actions = plan(
            requests,
            jobs,
            n_in_flight=n_in_flight,
            n_slots=n_slots,
            collecting=collecting,
            leave_cancelled=[name for name, p in self.pipelines.items() if p.spec.on_cancel == "leave"],
        )
        self.notes.append(f"pool {pool}: {n_in_flight} of {n_slots} slots taken, {len(requests)} shards open")
        self._carry_out(actions, tries)

    def _jobs(self, requests: Sequence[Request], recent: Mapping[str, Job]) -> dict[tuple[str, str], Job]:
        """Each request's job: among the recent ones, by the ARN we noted, or among all jobs of the pipeline ever."""
        found: dict[tuple[str, str], Job] = {}
        unseen: dict[str, list[Request]] = {}
        for request in requests:
            noted = self.ledgers[request.pipeline].entries[request.shard].job_arn
            if job := recent.get(self.name_of(request)):
                found[_key(request)] = job
            elif noted:
                found[_key(request)] = self.bedrock.get(noted)
            elif request.identity not in self.ledgers[request.pipeline].searched:
                unseen.setdefault(request.pipeline, []).append(request)
        for pipeline, missing in unseen.items():
            # Once is enough: a job that appears from now on is among the recent ones.
            self.ledgers[pipeline].searched |= {request.identity for request in missing}
            former = {job.name: job for job in self.bedrock.list(name_contains=name_prefix(pipeline))}
            found |= {_key(r): former[self.name_of(r)] for r in missing if self.name_of(r) in former}
        return found

    def _in_flight(self, pool: str, jobs: Mapping[tuple[str, str], Job], recent: Mapping[str, Job]) -> int:
        members = [pipeline for pipeline in self.pipelines.values() if pipeline.spec.pool == pool]
        models = {_bare(pipeline.spec.model) for pipeline in members}
        prefixes = tuple(name_prefix(pipeline.spec.name) for pipeline in members)
        known = {job.arn: job for job in [*recent.values(), *jobs.values()]}
        return sum(
            job.status.in_flight and (_bare(job.model) in models or job.name.startswith(prefixes))
            for job in known.values()
        )

    def _collect_runs(self, requests: Sequence[Request]) -> tuple[set[str], dict[str, int]]:
        """Requests whose collect run is under way, and how many of each request's collect runs have ended."""
        identities = [request.identity for request in requests]
        under_way: set[str] = set()
        tries: dict[str, int] = {}
        for start in range(0, len(identities), 500):
            tags = {REQUEST_TAG: identities[start : start + 500]}
            for record in self.instance.get_run_records(RunsFilter(tags=tags)):
                identity = record.dagster_run.tags[REQUEST_TAG]
                if record.dagster_run.status in _UNDER_WAY:
                    under_way.add(identity)
                else:
                    tries[identity] = tries.get(identity, 0) + 1
        return under_way, tries

    def _carry_out(self, actions: Sequence[Action], tries: Mapping[str, int]) -> None:
        full = False
        for action in actions:
            match action:
                case Collect(request, job):
                    self._ask_for_run(request, {JOB_TAG: job.arn}, tries.get(request.identity, 0))
                case Stop(request, job):
                    self.bedrock.stop(job.arn)
                    self.notes.append(f"stopped {job.name}: the run that asked for it was cancelled")
                case Close(request, job):
                    self._log(request, State.WITHDRAWN, **({"job_arn": job.arn} if job else {}))
                case Submit(request) if not full:
                    full = not self._submit(request)
                case _:
                    pass

    def _submit(self, request: Request) -> bool:
        """Whether there is any use in submitting more in this tick."""
        spec, name = self.pipelines[request.pipeline].spec, self.name_of(request)
        try:
            arn = self.bedrock.create(
                NewJob(
                    name=name,
                    model=spec.model,
                    input_uri=self.store.uri(request.prompts),
                    output_uri=self._output_uri(request) + "/",
                    model_invocation_type=spec.model_invocation_type,
                    timeout_hours=spec.timeout_hours,
                )
            )
        except BedrockUnavailable as error:
            self.notes.append(f"{request.shard} stays pending: {error}")
            return False
        except BedrockError as error:
            self._ask_for_run(request, {REFUSAL_TAG: str(error)[:1000]}, 0)
            return True
        self._log(request, State.SUBMITTED, job_arn=arn)
        self.notes.append(f"submitted {name}")
        return True

    def _ask_for_run(self, request: Request, tags: Mapping[str, str], n_tries: int) -> None:
        if n_tries >= COLLECT_TRIES:
            message = (
                f"{n_tries} runs that were to collect the output have crashed; see the runs tagged {request.identity}"
            )
            self._log(request, State.FAILED, message=message)
            return
        backfill = {BACKFILL_TAG: request.backfill_id} if request.backfill_id else {}
        if request.backfill_id and self._joins(request.backfill_id, request.pipeline):
            backfill[JOINED_TAG] = "true"
        self.run_requests.append(
            dg.RunRequest(
                run_key=f"{request.identity}/{n_tries}",
                job_name=collect_job(request.pipeline),
                partition_key=request.shard,
                tags={REQUEST_TAG: request.identity, **tags, **backfill},
            )
        )

    def _joins(self, backfill_id: str, pipeline: str) -> bool:
        """Whether a backfill is under way that builds the table at its end."""
        backfill = self.instance.get_backfill(backfill_id)
        table = dg.AssetKey([pipeline, "joined_table"])
        if backfill is None or backfill.status is not BulkActionStatus.REQUESTED:
            return False
        return table in (backfill.asset_selection or ())

    def _log(self, request: Request, state: State, **facts: str) -> None:
        self.instance.report_runless_asset_event(self.ledgers[request.pipeline].record(request, state, **facts))

    def _output_uri(self, request: Request) -> str:
        folder = attempt_folder(request.pipeline, request.shard, request.fingerprint, request.attempt)
        return self.store.uri(folder)

    def name_of(self, request: Request) -> str:
        """The name of the request's job."""
        return job_name(
            request.pipeline, request.shard, request.fingerprint, request.attempt, self._output_uri(request)
        )


def collect_job(pipeline: str) -> str:
    """Name of the Dagster job whose runs collect a pipeline's outputs."""
    return f"{pipeline}_collect"


def pool_limit(instance: DagsterInstance, pool: str, pipelines: Mapping[str, Pipeline]) -> int:
    """The pool's limit as the Concurrency page shows it, or else the smallest `limits.max_jobs` of its pipelines."""
    limit = instance.event_log_storage.get_concurrency_info(pool).limit
    own = min(p.spec.limits.max_jobs for p in pipelines.values() if p.spec.pool == pool)
    return own if limit is None else limit


def _key(request: Request) -> tuple[str, str]:
    return request.pipeline, request.shard


def _bare(model: str) -> str:
    return model.rpartition("/")[2]
