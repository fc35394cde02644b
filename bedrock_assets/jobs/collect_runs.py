"""The runs that the sensor asks for: one for each request that can be answered, again with pauses if it crashes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BulkActionStatus

from bedrock_assets.jobs.request import Request
from bedrock_assets.storage.manifests import InferenceMode

REQUEST_TAG = "bedrock_assets/request"
JOB_TAG = "bedrock_assets/job"
REFUSAL_TAG = "bedrock_assets/refusal"
MODE_TAG = "bedrock_assets/inference_mode"
CONTENT_TAG = "bedrock_assets/content"
"""On runs that call the model: what they ask, so that never two ask the same at once."""
FINAL_TAG = "bedrock_assets/final"
"""On the last run that is tried for a request."""
BACKFILL_TAG = "dagster/backfill"
JOINED_TAG = "bedrock_assets/joined_by_backfill"
"""On collect runs of a backfill that builds the table itself, so that their updates do not build it once more."""

MAX_RUNTIME_TAGS = {"dagster/max_runtime": str(2 * 3600)}
"""
Dagster's run monitoring fails a run after so many seconds. A run takes seconds to minutes; but where the launcher does
not look after its processes, as Dagster's default one does not, one that was killed would be under way for ever.
"""
MAX_RUNS = 9
"""Runs that may crash before a shard is failed."""
INITIAL_BACKOFF_S = 30
"""Pause after the first crash; each further one is twice as long, so that the last try is two hours after the first."""
ACTIVE_STATUSES = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.MANAGED,
)


@dataclass(frozen=True)
class RunAttempts:
    """What became of the runs for a request."""

    busy: bool = False
    """One is under way, or the pause after a crash is not over."""
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
    """Run requests of one tick."""

    instance: DagsterInstance
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked: list[dg.RunRequest] = field(default_factory=list)

    def tries(self, requests: Sequence[Request]) -> dict[str, RunAttempts]:
        """By identity, for those of *requests* that had a run."""
        identities = [request.identity for request in requests]
        under_way: set[str] = set()
        ended: dict[str, list[float]] = {}
        for start in range(0, len(identities), 500):
            tags = {REQUEST_TAG: identities[start : start + 500]}
            for record in self.instance.get_run_records(RunsFilter(tags=tags)):
                identity = record.dagster_run.tags[REQUEST_TAG]
                if record.dagster_run.status in ACTIVE_STATUSES:
                    under_way.add(identity)
                else:
                    at = record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
                    ended.setdefault(identity, []).append(at)
        under_way |= self._asked_by_another(requests)
        return {
            name: backoff(self.now, ended.get(name, []), under_way=name in under_way) for name in {*under_way, *ended}
        }

    def ask(self, request: Request, tries: RunAttempts, tags: Mapping[str, str]) -> None:
        """Ask for a run of the request's partition that counts for the request's backfill."""
        backfill = {BACKFILL_TAG: request.backfill_id} if request.backfill_id else {}
        if request.backfill_id and self._joins(request.backfill_id, request.pipeline):
            backfill[JOINED_TAG] = "true"
        final = {FINAL_TAG: "true"} if tries.is_last else {}
        content = {CONTENT_TAG: _content(request)} if request.inference_mode is InferenceMode.ON_DEMAND else {}
        self.asked.append(
            dg.RunRequest(
                run_key=f"{request.identity}/{tries.n_ended}",
                job_name=collect_job(request.pipeline),
                partition_key=request.shard,
                tags={REQUEST_TAG: request.identity, **MAX_RUNTIME_TAGS, **tags, **backfill, **final, **content},
            )
        )

    def _asked_by_another(self, requests: Sequence[Request]) -> set[str]:
        """Identities of requests whose content a run is just asking, be it for an earlier request."""
        contents = {_content(r): r.identity for r in requests if r.inference_mode is InferenceMode.ON_DEMAND}
        if not contents:
            return set()
        asking = RunsFilter(tags={CONTENT_TAG: list(contents)}, statuses=list(ACTIVE_STATUSES))
        return {contents[run.tags[CONTENT_TAG]] for run in self.instance.get_runs(asking)}

    def _joins(self, backfill_id: str, pipeline: str) -> bool:
        """Whether a backfill is under way that builds the table at its end."""
        backfill = self.instance.get_backfill(backfill_id)
        table = dg.AssetKey([pipeline, "joined_table"])
        if backfill is None or backfill.status is not BulkActionStatus.REQUESTED:
            return False
        return table in (backfill.asset_selection or ())


def backoff(now: datetime, ended: Sequence[float], *, under_way: bool = False) -> RunAttempts:
    """
    Args:
        ended: When each run ended, in seconds since 1970.
    """
    rests = bool(ended) and now.timestamp() < max(ended) + INITIAL_BACKOFF_S * 2 ** (len(ended) - 1)
    return RunAttempts(under_way or rests, len(ended))


def _content(request: Request) -> str:
    return f"{request.pipeline}/{request.shard}/{request.fingerprint}-{request.attempt}"


def collect_job(pipeline: str) -> str:
    """Name of the Dagster job whose runs answer a pipeline's requests."""
    return f"{pipeline}_collect"
