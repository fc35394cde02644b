"""Which jobs are there: those of the requests, and all that take a slot."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dagster import DagsterInstance

from bedrock_assets.aws.batch import LOOK_BACK
from bedrock_assets.aws.job import Job
from bedrock_assets.aws.regions import Place, Places
from bedrock_assets.config.target import Target, bare_id
from bedrock_assets.errors import BedrockError, ConfigError
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.jobs.request import Request, Route, name_of, name_prefix
from bedrock_assets.pipeline.workload import Work
from bedrock_assets.storage.manifests import Lane

FEW = 3
"""So many jobs are looked up by their own names, more by going through all jobs of the pipeline."""
Found = Mapping[str, Job]
"""The jobs of requests, by the requests' identities."""


@dataclass(frozen=True)
class Doubt:
    """Why nothing can be said of a request's job: another could be paid twice."""

    reason: str
    passes: bool = False
    """Whether to ask again is enough."""


@dataclass(frozen=True)
class Census:
    """Bedrock's jobs, looked at once a tick."""

    places: Places
    recent: Mapping[Place, Mapping[str, Job]]
    """Jobs created within `LOOK_BACK`, by place and name."""
    unseen: Mapping[Place, str]
    """Places that could not be asked, and why."""
    doubts: dict[str, Doubt] = field(default_factory=dict)
    """By identity, why it is not known whether a request has a job, or what became of it."""

    @classmethod
    def take(cls, places: Places, works: Iterable[Work]) -> "Census":
        """
        Look wherever jobs of *works* may be.

        Raises:
            BedrockError: Bedrock cannot be asked anywhere now, or may not be.
        """
        used = places.used_by((target for work in works for target in work.spec.targets), strict=False)
        since, recent, unseen = datetime.now(UTC) - LOOK_BACK, dict[Place, dict[str, Job]](), dict[Place, str]()
        for place in used.all:
            try:
                recent[place] = {job.name: job for job in place.bedrock.list(since=since)}
            except BedrockError as error:
                unseen[place] = str(error)
                if len(unseen) == len(used.all):
                    raise
        return cls(places, recent, unseen)

    def jobs_of(self, requests: Sequence[Request], works: Mapping[str, Work], ledgers: Mapping[str, Ledger]) -> Found:
        """
        Each request's job by the request's identity: among the recent ones, by the ARN we noted, or among all jobs of
        the pipeline ever. The last is looked through once a request: a job that appears later is a recent one.
        """
        found: dict[str, Job] = {}
        fresh: dict[str, list[Request]] = {}
        for request in requests:
            ledger = ledgers[request.pipeline]
            if request.lane is Lane.ON_DEMAND:
                continue
            if job := self._recent(name_of(self.places.store, request)):
                found[request.identity] = job
            elif noted := ledger.told_of(request).job_arn:
                found |= self._noted(request, noted)
            elif doubt := self._doubt(request, works[request.pipeline], ledger):
                self.doubts[request.identity] = doubt
            elif request.identity not in ledger.searched and request.identity not in ledger.replaced:
                fresh.setdefault(request.pipeline, []).append(request)
        for pipeline, missing in fresh.items():
            found |= self._searched(works[pipeline], missing)
            ledgers[pipeline].searched |= {request.identity for request in missing}
        return found

    def _recent(self, name: str) -> Job | None:
        return next((jobs[name] for jobs in self.recent.values() if name in jobs), None)

    def _noted(self, request: Request, arn: str) -> Found:
        try:
            place = self.places.of(arn)
            if place not in self.unseen:
                return {request.identity: place.bedrock.get(arn)}
            self.doubts[request.identity] = self._unseen(place)
        except (BedrockError, ConfigError) as error:
            self.doubts[request.identity] = Doubt(str(error), error.retryable)
        return {}

    def _doubt(self, request: Request, work: Work, ledger: Ledger) -> Doubt | None:
        """Why a request could have a job where nobody can look; None if it could not."""
        targets = [target for target in work.spec.targets if request.target in ("", target.name)]
        if request.target and not targets:
            return Doubt(f"its job may be at {request.target}, which `model` names no longer; name it there again")
        if not request.target and request.identity in ledger.searched:
            return None
        try:
            places = [self.places.at(target) for target in targets]
        except ConfigError as error:
            return Doubt(str(error))
        return next((self._unseen(place) for place in places if place in self.unseen), None)

    def _unseen(self, place: Place) -> Doubt:
        return Doubt(f"{place} cannot be asked now: {self.unseen[place]}", passes=True)

    def _searched(self, work: Work, missing: Sequence[Request]) -> Found:
        names = {request.identity: name_of(self.places.store, request) for request in missing}
        wanted = list(names.values()) if len(names) <= FEW else [name_prefix(work.spec.name)]
        # Places of the pipeline's models can be asked, or its requests would be in doubt.
        places = [place for place in self.places.used_by(work.spec.targets).all if place in self.recent]
        found = (place.bedrock.list(name_contains=part) for place in places for part in wanted)
        former = {job.name: job for jobs in found for job in jobs}
        return {identity: former[name] for identity, name in names.items() if name in former}

    def routes(self, work: Work) -> list[Route]:
        """The ways to submit a pipeline's shards now."""
        routes: list[Route] = []
        for target in work.spec.targets:
            with suppress(ConfigError):
                if self.places.at(target) in self.recent:
                    routes.append(Route(target.name, work.spec.pool_of(target)))
        return routes

    def n_in_flight(self, pool: str, works: Iterable[Work], jobs: Found) -> int | None:
        """Jobs that take a slot of a pool; None while a place that it caps cannot be asked."""
        members = self._members(pool, works)
        if not members.keys() <= self.recent.keys():
            return None
        return sum(self._n_in_flight(place, found, jobs) for place, found in members.items())

    def _n_in_flight(self, place: Place, members: Sequence[tuple[Work, Target]], jobs: Found) -> int:
        """Jobs of a place that take a slot: of the pipelines there, and of anybody else on their models."""
        models = {bare_id(target.model) for _, target in members}
        # A job of ours may be listed under a model that `model` does not spell.
        own = [(name_prefix(w.spec.name), {bare_id(target.model) for target in w.spec.targets}) for w, _ in members]

        def takes(job: Job) -> bool:
            bare = bare_id(job.model)
            return bare in models or any(job.name.startswith(prefix) and bare not in known for prefix, known in own)

        known = {job.arn: job for job in self.recent[place].values()}
        known |= {job.arn: job for job in jobs.values() if self._at(job) is place}
        return sum(job.status.in_flight and takes(job) for job in known.values())

    def _members(self, pool: str, works: Iterable[Work]) -> dict[Place, list[tuple[Work, Target]]]:
        """By place, what a pool caps."""
        members: dict[Place, list[tuple[Work, Target]]] = {}
        for work in works:
            for target in work.spec.targets:
                if work.spec.pool_of(target) == pool:
                    with suppress(ConfigError):
                        members.setdefault(self.places.at(target), []).append((work, target))
        return members

    def _at(self, job: Job) -> Place | None:
        try:
            return self.places.of(job.arn)
        except ConfigError:
            return None


def pool_limit(instance: DagsterInstance, pool: str, works: Iterable[Work]) -> int:
    """The pool's limit as the Concurrency page shows it, or else the smallest `max_jobs` of what it caps."""
    limit = instance.event_log_storage.get_concurrency_info(pool).limit
    return min(work.spec.max_jobs_in(pool) for work in works if pool in work.spec.pools) if limit is None else limit
