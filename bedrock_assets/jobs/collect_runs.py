"""The runs that the sensor launches: one for each request that can be answered, again with pauses if it crashes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.jobs.dagster_internals import BulkActionStatus
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.storage.manifests import InferenceMode

REQUEST_TAG = "bedrock_assets/request"
JOB_TAG = "bedrock_assets/job"
REFUSAL_TAG = "bedrock_assets/refusal"
MODE_TAG = "bedrock_assets/inference_mode"
CONTENT_TAG = "bedrock_assets/content"
"""On runs that call the model: what they send, so that no two runs send the same at once."""
FINAL_TAG = "bedrock_assets/final"
"""On the last run that is launched for a request."""
TAKEN_TAG = "bedrock_assets/collects"
"""On a launched run that waits: the request whose answers it collects itself at this moment."""
BACKFILL_TAG = "dagster/backfill"

MAX_RUNTIME_TAGS = {"dagster/max_runtime": str(2 * 3600)}
"""
Seconds after which Dagster's run monitoring fails a run. A run takes seconds to minutes; but where the launcher does
not watch its processes, as Dagster's default one does not, a killed run would stay in progress for ever.
"""
MAX_RUNS = 9
"""Runs that may crash before a shard is failed."""
INITIAL_BACKOFF_S = 30
"""Pause after the first crash; each further one is twice as long, so that the last run is two hours after the first."""
ACTIVE_STATUSES = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.MANAGED,
)
_QUERY_SIZE = 500
"""Requests whose runs are looked up in one query."""


@dataclass(frozen=True)
class RunAttempts:
    """The runs that were launched for a request."""

    busy: bool = False
    """Whether one is in progress, or the pause after a crash is not over."""
    n_ended: int = 0

    @property
    def is_last(self) -> bool:
        """Whether the next run is the last."""
        return self.n_ended + 1 >= MAX_RUNS

    @property
    def exhausted(self) -> bool:
        """Whether there is to be no further run."""
        return self.n_ended >= MAX_RUNS


@dataclass
class CollectRuns:
    """The run requests of one tick."""

    instance: DagsterInstance
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_requests: list[dg.RunRequest] = field(default_factory=list)

    def attempts(self, requests: Sequence[Request]) -> dict[str, RunAttempts]:
        """By `Request.identity`, for those of *requests* that had a run."""
        identities = [request.identity for request in requests]
        active: set[str] = set()
        ended: dict[str, list[float]] = {}
        for start in range(0, len(identities), _QUERY_SIZE):
            tags = {REQUEST_TAG: identities[start : start + _QUERY_SIZE]}
            for record in self.instance.get_run_records(RunsFilter(tags=tags)):
                identity = record.dagster_run.tags[REQUEST_TAG]
                if record.dagster_run.status in ACTIVE_STATUSES:
                    active.add(identity)
                else:
                    at = record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
                    ended.setdefault(identity, []).append(at)
            taken = RunsFilter(tags={TAKEN_TAG: tags[REQUEST_TAG]}, statuses=list(ACTIVE_STATUSES))
            active |= {run.tags[TAKEN_TAG] for run in self.instance.get_runs(taken)}
        active |= self._sent_by_another(requests)
        return {name: backoff(self.now, ended.get(name, []), active=name in active) for name in {*active, *ended}}

    def launch(self, request: Request, attempts: RunAttempts, tags: Mapping[str, str]) -> None:
        """Request a run of the request's partition that counts for the request's backfill, while that is under way."""
        final = {FINAL_TAG: "true"} if attempts.is_last else {}
        content = {CONTENT_TAG: _content(request)} if request.inference_mode is InferenceMode.ON_DEMAND else {}
        self.run_requests.append(
            dg.RunRequest(
                run_key=f"{request.identity}/{attempts.n_ended}",
                job_name=collect_job(request.pipeline),
                partition_key=request.shard,
                tags={
                    **{REQUEST_TAG: request.identity, **MAX_RUNTIME_TAGS, **tags},
                    **self._backfill_tags(request),
                    **final,
                    **content,
                },
            )
        )

    def _sent_by_another(self, requests: Sequence[Request]) -> set[str]:
        """Identities of requests whose content a run is sending now, even for an earlier request."""
        contents = {_content(r): r.identity for r in requests if r.inference_mode is InferenceMode.ON_DEMAND}
        if not contents:
            return set()
        runs = self.instance.get_runs(RunsFilter(tags={CONTENT_TAG: list(contents)}, statuses=list(ACTIVE_STATUSES)))
        return {contents[run.tags[CONTENT_TAG]] for run in runs}

    def _backfill_tags(self, request: Request) -> dict[str, str]:
        """What makes a run count for the request's backfill. With one that has failed, Dagster would cancel the run."""
        backfill = self.instance.get_backfill(request.backfill_id) if request.backfill_id else None
        if backfill is None or backfill.status is not BulkActionStatus.REQUESTED:
            return {}
        return {BACKFILL_TAG: backfill.backfill_id}


def backoff(now: datetime, ended: Sequence[float], *, active: bool = False) -> RunAttempts:
    """
    Whether another run may be launched.

    Args:
        ended: When each run ended, in seconds since 1970.
        active: Whether one is in progress.
    """
    pauses = bool(ended) and now.timestamp() < max(ended) + INITIAL_BACKOFF_S * 2 ** (len(ended) - 1)
    return RunAttempts(active or pauses, len(ended))


def _content(request: Request) -> str:
    return f"{request.pipeline}/{request.shard}/{request.fingerprint}-{request.attempt}"


def collect_job(pipeline: str) -> str:
    """Name of the Dagster job whose runs answer a pipeline's requests."""
    return f"{pipeline}_collect"
