"""Bedrock's jobs as one tick sees them: those of the requests, and all that take a slot."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dagster import DagsterInstance

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.model_invocation_jobs import LOOK_BACK
from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.config.target import Target, bare_id
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockError, ConfigError
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.jobs.shard_request import Request, SubmitOption, name_prefix
from bedrock_assets.jobs.submit_turn import Turn
from bedrock_assets.storage.manifests import InferenceMode

MAX_NAME_LOOKUPS = 3
"""Up to so many jobs are looked up by their own names, more by listing all jobs of the pipeline."""
JobsByRequest = Mapping[str, Job]
"""The jobs of requests, by `Request.identity`."""


@dataclass(frozen=True)
class UnknownJob:
    """Why it is not known whether a request has a job: another one could be paid twice."""

    reason: str
    transient: bool = False
    """Whether looking again later is enough."""


@dataclass(frozen=True)
class ObservedJobs:
    """Bedrock's jobs, listed once for each tick."""

    regions: Regions
    recent: Mapping[Region, Mapping[str, Job]]
    """Jobs created within `LOOK_BACK`, by Region and name."""
    unreachable: Mapping[Region, str]
    """Regions that could not be reached, and why."""
    unknown: dict[str, UnknownJob] = field(default_factory=dict)
    """By `Request.identity`, why it is not known whether the request has a job, or what became of it."""

    @classmethod
    def observe(cls, regions: Regions, specs: Iterable[WorkloadSpec]) -> "ObservedJobs":
        """
        List the jobs of every Region where jobs of *specs* may be.

        Raises:
            BedrockError: No Region is reachable, or none may be listed.
        """
        used = regions.used_by((target for spec in specs for target in spec.targets), strict=False)
        since, recent, unreachable = datetime.now(UTC) - LOOK_BACK, dict[Region, dict[str, Job]](), dict[Region, str]()
        for region in used.all:
            try:
                recent[region] = {job.name: job for job in region.bedrock.list(since=since)}
            except BedrockError as error:
                unreachable[region] = str(error)
                if len(unreachable) == len(used.all):
                    raise
        return cls(regions, recent, unreachable)

    def jobs_of(
        self, requests: Sequence[Request], specs: Mapping[str, WorkloadSpec], ledgers: Mapping[str, Ledger]
    ) -> JobsByRequest:
        """
        Find each request's job: among the recent ones, by the ARN in the event log, or among all jobs of the pipeline
        ever. The last is done once for each request: a job that appears later is a recent one.
        """
        jobs: dict[str, Job] = {}
        never_searched: dict[str, list[Request]] = {}
        for request in requests:
            ledger = ledgers[request.pipeline]
            if request.inference_mode is InferenceMode.ON_DEMAND:
                continue
            if job := self._recent(request.job_name(self.regions.store)):
                jobs[request.identity] = job
            elif arn := ledger.last_event(request).job_arn:
                jobs |= self._by_arn(request, arn)
            elif unknown := self._why_unknown(request, specs[request.pipeline], ledger):
                self.unknown[request.identity] = unknown
            elif request.identity not in ledger.searched and request.identity not in ledger.replaced:
                never_searched.setdefault(request.pipeline, []).append(request)
        for pipeline, missing in never_searched.items():
            jobs |= self._search(specs[pipeline], missing)
            ledgers[pipeline].searched |= {request.identity for request in missing}
        return jobs

    def _recent(self, name: str) -> Job | None:
        return next((jobs[name] for jobs in self.recent.values() if name in jobs), None)

    def _by_arn(self, request: Request, arn: str) -> JobsByRequest:
        try:
            region = self.regions.of(arn)
            if region not in self.unreachable:
                return {request.identity: region.bedrock.get(arn)}
            self.unknown[request.identity] = self._unreachable(region)
        except (BedrockError, ConfigError) as error:
            self.unknown[request.identity] = UnknownJob(str(error), error.retryable)
        return {}

    def _why_unknown(self, request: Request, spec: WorkloadSpec, ledger: Ledger) -> UnknownJob | None:
        """Why a request could have a job where it cannot be looked for; None if it could not."""
        targets = [target for target in spec.targets if request.where in ("", target.name)]
        if request.where and not targets:
            return UnknownJob(f"its job may be at {request.where}, which `model` no longer names; add it again")
        if not request.where and request.identity in ledger.searched:
            return None
        try:
            regions = [self.regions.at(target) for target in targets]
        except ConfigError as error:
            return UnknownJob(str(error))
        return next((self._unreachable(region) for region in regions if region in self.unreachable), None)

    def _unreachable(self, region: Region) -> UnknownJob:
        return UnknownJob(f"{region} is not reachable: {self.unreachable[region]}", transient=True)

    def _search(self, spec: WorkloadSpec, missing: Sequence[Request]) -> JobsByRequest:
        names = {request.identity: request.job_name(self.regions.store) for request in missing}
        parts = list(names.values()) if len(names) <= MAX_NAME_LOOKUPS else [name_prefix(spec.name)]
        # Every Region of the pipeline's models is reachable, or its requests would be among the unknown.
        regions = [region for region in self.regions.used_by(spec.targets).all if region in self.recent]
        listings = (region.bedrock.list(name_contains=part) for region in regions for part in parts)
        jobs = {job.name: job for listing in listings for job in listing}
        return {identity: jobs[name] for identity, name in names.items() if name in jobs}

    def submit_options(self, spec: WorkloadSpec) -> list[SubmitOption]:
        """Where a pipeline's shards can be submitted now, the preferred option first."""
        options: list[SubmitOption] = []
        for target in spec.targets:
            with suppress(ConfigError):
                if self.regions.at(target) in self.recent:
                    options.append(SubmitOption(target.name, spec.pool_of(target)))
        return options

    def n_in_flight(
        self, pool: str, specs: Iterable[WorkloadSpec], jobs: JobsByRequest, turn: Turn | None = None
    ) -> int | None:
        """
        Jobs that take a slot of a pool; None while a Region that the pool caps is not reachable.

        Args:
            turn: Knows the jobs of pipelines of other code locations that share the pool.
        """
        members = self._members(pool, specs)
        if not members.keys() <= self.recent.keys():
            return None
        return sum(
            (turn is not None and turn.takes_slot(job, pool)) or _takes_slot(job, of_pool)
            for region, of_pool in members.items()
            for job in self._in_flight(region, jobs)
        )

    def _in_flight(self, region: Region, jobs: JobsByRequest) -> list[Job]:
        """All jobs of a Region that are not over, the recent ones and those of *jobs*."""
        known = {job.arn: job for job in self.recent[region].values()}
        known |= {job.arn: job for job in jobs.values() if self._region_of(job) is region}
        return [job for job in known.values() if job.status.in_flight]

    def _members(self, pool: str, specs: Iterable[WorkloadSpec]) -> dict[Region, list[tuple[WorkloadSpec, Target]]]:
        """By Region, what a pool caps."""
        members: dict[Region, list[tuple[WorkloadSpec, Target]]] = {}
        for spec in specs:
            for target in spec.targets:
                if spec.pool_of(target) == pool:
                    with suppress(ConfigError):
                        members.setdefault(self.regions.at(target), []).append((spec, target))
        return members

    def _region_of(self, job: Job) -> Region | None:
        try:
            return self.regions.of(job.arn)
        except ConfigError:
            return None


def _takes_slot(job: Job, members: Sequence[tuple[WorkloadSpec, Target]]) -> bool:
    """Whether a job is one of the pipelines of a pool, or anybody else's on their models."""
    bare = bare_id(job.model)
    if any(bare == bare_id(target.model) for _, target in members):
        return True
    # A job of ours may be listed under a model that `model` does not spell.
    own = [spec for spec, _ in members if job.name.startswith(name_prefix(spec.name))]
    return any(bare not in {bare_id(target.model) for target in spec.targets} for spec in own)


def pool_limit(instance: DagsterInstance, pool: str, specs: Iterable[WorkloadSpec]) -> int:
    """The pool's limit on the Concurrency page or, where none is set, the smallest `max_jobs` of what it caps."""
    limit = instance.event_log_storage.get_concurrency_info(pool).limit
    return min(spec.max_jobs_in(pool) for spec in specs if pool in spec.pools) if limit is None else limit
