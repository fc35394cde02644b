"""Which jobs are there: those of the requests, and all that take a slot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance

from bedrock_assets.bedrock import Bedrock
from bedrock_assets.campaign import Job, Lane, Request, job_name, name_prefix
from bedrock_assets.errors import BedrockError, BedrockUnavailable
from bedrock_assets.ledger import Ledger
from bedrock_assets.limits import MAX_TIMEOUT_HOURS
from bedrock_assets.records import attempt_folder
from bedrock_assets.store import Store
from bedrock_assets.work import Work

FEW = 3
"""So many jobs are looked up by their own names, more by going through all jobs of the pipeline."""
LOOK_BACK = timedelta(hours=MAX_TIMEOUT_HOURS + 24)
"""No job in flight was created earlier: its timeout counts from creation."""


@dataclass(frozen=True)
class Census:
    """Bedrock's jobs, looked at once a tick."""

    bedrock: Bedrock
    store: Store
    recent: Mapping[str, Job]
    """Jobs created within `LOOK_BACK`, by name."""
    unknown: dict[str, str] = field(default_factory=dict)
    """By identity, why Bedrock does not tell of a request's job, though it was created once."""

    @classmethod
    def take(cls, bedrock: Bedrock, store: Store) -> "Census":
        """
        Raises:
            BedrockUnavailable: Bedrock cannot be asked now.
        """
        return cls(bedrock, store, {job.name: job for job in bedrock.list(since=datetime.now(UTC) - LOOK_BACK)})

    def jobs_of(self, requests: Sequence[Request], ledgers: Mapping[str, Ledger]) -> dict[str, Job]:
        """
        Each request's job by the request's identity: among the recent ones, by the ARN we noted, or among all jobs of
        the pipeline ever. The last is looked through once a request: a job that appears later is a recent one.
        """
        found: dict[str, Job] = {}
        unseen: dict[str, list[Request]] = {}
        for request in requests:
            ledger = ledgers[request.pipeline]
            if request.lane is Lane.ON_DEMAND:
                continue
            if job := self.recent.get(name_of(self.store, request)):
                found[request.identity] = job
            elif noted := ledger.told_of(request).job_arn:
                found |= self._noted(request, noted)
            elif request.identity not in ledger.searched and request.identity not in ledger.replaced:
                unseen.setdefault(request.pipeline, []).append(request)
        for pipeline, missing in unseen.items():
            found |= self._searched(pipeline, missing)
            ledgers[pipeline].searched |= {request.identity for request in missing}
        return found

    def _noted(self, request: Request, arn: str) -> dict[str, Job]:
        try:
            return {request.identity: self.bedrock.get(arn)}
        except BedrockUnavailable:
            raise
        except BedrockError as error:
            self.unknown[request.identity] = str(error)
            return {}

    def _searched(self, pipeline: str, missing: Sequence[Request]) -> dict[str, Job]:
        names = {request.identity: name_of(self.store, request) for request in missing}
        wanted = list(names.values()) if len(names) <= FEW else [name_prefix(pipeline)]
        former = {job.name: job for part in wanted for job in self.bedrock.list(name_contains=part)}
        return {identity: former[name] for identity, name in names.items() if name in former}

    def n_in_flight(self, members: Sequence[Work], jobs: Mapping[str, Job]) -> int:
        """Jobs that take a slot of a pool: of its *members*, and of anybody else on their models."""
        models = {_bare(pipeline.spec.model) for pipeline in members}
        prefixes = tuple(name_prefix(pipeline.spec.name) for pipeline in members)
        known = {job.arn: job for job in [*self.recent.values(), *jobs.values()]}
        return sum(
            job.status.in_flight and (_bare(job.model) in models or job.name.startswith(prefixes))
            for job in known.values()
        )


def name_of(store: Store, request: Request) -> str:
    """The name of the request's job."""
    return job_name(request.pipeline, request.shard, request.fingerprint, request.attempt, output_uri(store, request))


def output_uri(store: Store, request: Request) -> str:
    """Where Bedrock makes the folder of the request's job."""
    folder = attempt_folder(request.pipeline, request.shard, request.fingerprint, request.attempt, request.folder)
    return store.uri(folder)


def pool_limit(instance: DagsterInstance, pool: str, members: Sequence[Work]) -> int:
    """The pool's limit as the Concurrency page shows it, or else the smallest `limits.max_jobs` of its *members*."""
    limit = instance.event_log_storage.get_concurrency_info(pool).limit
    return min(pipeline.spec.limits.max_jobs for pipeline in members) if limit is None else limit


def _bare(model: str) -> str:
    return model.rpartition("/")[2]
