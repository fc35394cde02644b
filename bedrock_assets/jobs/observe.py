"""Which jobs are there: those of the requests, and all that take a slot."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dagster import DagsterInstance

from bedrock_assets.aws.batch import LOOK_BACK
from bedrock_assets.aws.job import Job
from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.config.target import Target, bare_id
from bedrock_assets.errors import BedrockError, ConfigError
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.jobs.request import Request, SubmitOption, name_of, name_prefix
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.manifests import InferenceMode

FEW = 3
"""So many jobs are looked up by their own names, more by going through all jobs of the pipeline."""
Found = Mapping[str, Job]
"""The jobs of requests, by the requests' identities."""


@dataclass(frozen=True)
class UnknownJob:
    """Why nothing can be said of a request's job: another could be paid twice."""

    reason: str
    transient: bool = False
    """Whether to ask again is enough."""


@dataclass(frozen=True)
class ObservedJobs:
    """Bedrock's jobs, looked at once a tick."""

    regions: Regions
    recent: Mapping[Region, Mapping[str, Job]]
    """Jobs created within `LOOK_BACK`, by place and name."""
    unreachable: Mapping[Region, str]
    """Regions that could not be asked, and why."""
    unknown: dict[str, UnknownJob] = field(default_factory=dict)
    """By identity, why it is not known whether a request has a job, or what became of it."""

    @classmethod
    def take(cls, regions: Regions, workloads: Iterable[Workload]) -> "ObservedJobs":
        """
        Look wherever jobs of *works* may be.

        Raises:
            BedrockError: Bedrock cannot be asked anywhere now, or may not be.
        """
        used = regions.used_by((target for workload in workloads for target in workload.spec.targets), strict=False)
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
        self, requests: Sequence[Request], workloads: Mapping[str, Workload], ledgers: Mapping[str, Ledger]
    ) -> Found:
        """
        Each request's job by the request's identity: among the recent ones, by the ARN we noted, or among all jobs of
        the pipeline ever. The last is looked through once a request: a job that appears later is a recent one.
        """
        found: dict[str, Job] = {}
        fresh: dict[str, list[Request]] = {}
        for request in requests:
            ledger = ledgers[request.pipeline]
            if request.inference_mode is InferenceMode.ON_DEMAND:
                continue
            if job := self._recent(name_of(self.regions.store, request)):
                found[request.identity] = job
            elif noted := ledger.last_event(request).job_arn:
                found |= self._noted(request, noted)
            elif doubt := self._doubt(request, workloads[request.pipeline], ledger):
                self.unknown[request.identity] = doubt
            elif request.identity not in ledger.searched and request.identity not in ledger.replaced:
                fresh.setdefault(request.pipeline, []).append(request)
        for pipeline, missing in fresh.items():
            found |= self._searched(workloads[pipeline], missing)
            ledgers[pipeline].searched |= {request.identity for request in missing}
        return found

    def _recent(self, name: str) -> Job | None:
        return next((jobs[name] for jobs in self.recent.values() if name in jobs), None)

    def _noted(self, request: Request, arn: str) -> Found:
        try:
            region = self.regions.of(arn)
            if region not in self.unreachable:
                return {request.identity: region.bedrock.get(arn)}
            self.unknown[request.identity] = self._unseen(region)
        except (BedrockError, ConfigError) as error:
            self.unknown[request.identity] = UnknownJob(str(error), error.retryable)
        return {}

    def _doubt(self, request: Request, workload: Workload, ledger: Ledger) -> UnknownJob | None:
        """Why a request could have a job where nobody can look; None if it could not."""
        targets = [target for target in workload.spec.targets if request.target in ("", target.name)]
        if request.target and not targets:
            return UnknownJob(f"its job may be at {request.target}, which `model` names no longer; name it there again")
        if not request.target and request.identity in ledger.searched:
            return None
        try:
            regions = [self.regions.at(target) for target in targets]
        except ConfigError as error:
            return UnknownJob(str(error))
        return next((self._unseen(region) for region in regions if region in self.unreachable), None)

    def _unseen(self, region: Region) -> UnknownJob:
        return UnknownJob(f"{region} cannot be asked now: {self.unreachable[region]}", transient=True)

    def _searched(self, workload: Workload, missing: Sequence[Request]) -> Found:
        names = {request.identity: name_of(self.regions.store, request) for request in missing}
        wanted = list(names.values()) if len(names) <= FEW else [name_prefix(workload.spec.name)]
        # Regions of the pipeline's models can be asked, or its requests would be in doubt.
        regions = [region for region in self.regions.used_by(workload.spec.targets).all if region in self.recent]
        found = (region.bedrock.list(name_contains=part) for region in regions for part in wanted)
        former = {job.name: job for jobs in found for job in jobs}
        return {identity: former[name] for identity, name in names.items() if name in former}

    def submit_options(self, workload: Workload) -> list[SubmitOption]:
        """The ways to submit a pipeline's shards now."""
        submit_options: list[SubmitOption] = []
        for target in workload.spec.targets:
            with suppress(ConfigError):
                if self.regions.at(target) in self.recent:
                    submit_options.append(SubmitOption(target.name, workload.spec.pool_of(target)))
        return submit_options

    def n_in_flight(self, pool: str, workloads: Iterable[Workload], jobs: Found) -> int | None:
        """Jobs that take a slot of a pool; None while a place that it caps cannot be asked."""
        members = self._members(pool, workloads)
        if not members.keys() <= self.recent.keys():
            return None
        return sum(self._n_in_flight(region, found, jobs) for region, found in members.items())

    def _n_in_flight(self, region: Region, members: Sequence[tuple[Workload, Target]], jobs: Found) -> int:
        """Jobs of a place that take a slot: of the pipelines there, and of anybody else on their models."""
        models = {bare_id(target.model) for _, target in members}
        # A job of ours may be listed under a model that `model` does not spell.
        own = [(name_prefix(w.spec.name), {bare_id(target.model) for target in w.spec.targets}) for w, _ in members]

        def takes(job: Job) -> bool:
            bare = bare_id(job.model)
            return bare in models or any(job.name.startswith(prefix) and bare not in known for prefix, known in own)

        known = {job.arn: job for job in self.recent[region].values()}
        known |= {job.arn: job for job in jobs.values() if self._at(job) is region}
        return sum(job.status.in_flight and takes(job) for job in known.values())

    def _members(self, pool: str, workloads: Iterable[Workload]) -> dict[Region, list[tuple[Workload, Target]]]:
        """By place, what a pool caps."""
        members: dict[Region, list[tuple[Workload, Target]]] = {}
        for workload in workloads:
            for target in workload.spec.targets:
                if workload.spec.pool_of(target) == pool:
                    with suppress(ConfigError):
                        members.setdefault(self.regions.at(target), []).append((workload, target))
        return members

    def _at(self, job: Job) -> Region | None:
        try:
            return self.regions.of(job.arn)
        except ConfigError:
            return None


def pool_limit(instance: DagsterInstance, pool: str, workloads: Iterable[Workload]) -> int:
    """The pool's limit as the Concurrency page shows it, or else the smallest `max_jobs` of what it caps."""
    limit = instance.event_log_storage.get_concurrency_info(pool).limit
    return (
        min(workload.spec.max_jobs_in(pool) for workload in workloads if pool in workload.spec.pools)
        if limit is None
        else limit
    )
