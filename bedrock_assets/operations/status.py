"""The progress of the shards of a pipeline or an inbox, from Dagster's event log and from their jobs on Bedrock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import DagsterInstance

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.model_invocation_jobs import LOOK_BACK, Jobs
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockError, StoreError
from bedrock_assets.inbox.files import SUFFIX
from bedrock_assets.inbox.rejections import files_in_folder
from bedrock_assets.jobs.gate import approval_note
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState
from bedrock_assets.jobs.partitions import shards_of
from bedrock_assets.jobs.shard_request import name_prefix, on_hold_note
from bedrock_assets.prices import price_of
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import OutputFacts
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import N_READERS, map_ordered

NOT_ASKED = "not asked"
"""State of a shard that was never requested."""
WAITING, REFUSED = "waiting", "refused"
"""States of a file in the folder of an inbox: not taken yet, or left there for a reason."""


@dataclass(frozen=True)
class ShardProgress:
    """The progress of one shard, or of one file in the folder of an inbox."""

    pipeline: str
    shard: str
    """Its key; of a file that has not been taken, its name."""
    state: str
    """The status of its job if it has one, else the state of its request, or `not asked`, `waiting` or `refused`."""
    n_records: int = 0
    n_done: int = 0
    records_per_min: float | None = None
    eta_min: float | None = None
    """Minutes until its job ends, at its mean pace since submission."""
    attempt: int = 0
    inference_mode: str = ""
    cost_usd: float | None = None
    """None before the answers are there, or if their tokens or the price are unknown."""
    is_answered: bool = False
    """Whether the answers are there."""
    estimated_usd: float | None = None
    job_arn: str | None = None
    request_state: str = ""
    """The state of its request; empty if it was never requested."""
    job_status: str = ""
    """Bedrock's status of its job; empty if it has none, or the job has been collected."""
    message: str | None = None


def shard_progress(
    instance: DagsterInstance, spec: WorkloadSpec, store: Store, bedrock: Jobs | None
) -> tuple[list[ShardProgress], list[str]]:
    """
    Read the progress of all shards of a pipeline or an inbox, and the files in an inbox's folder.

    Args:
        bedrock: None leaves the jobs out.

    Returns:
        The files that were not taken, the oldest first, then the shards in order; and what could not be read.
    """
    ledger = Ledger.of(spec)
    ledger.refresh(instance)
    files, folder_error = _files(instance, spec, store)
    left = {file.shard.removesuffix(SUFFIX) for file in files}
    # A file whose run was killed may be a partition already, without a request.
    keys = [key for key in shards_of(instance, spec.name) if key in ledger.entries or key not in left]
    jobs, jobs_error = _jobs(spec, bedrock, ledger.open_entries)
    costs = _costs(spec, store, [key for key in keys if _answered(ledger, key)])
    shards = [_progress(spec, key, ledger.entries.get(key), jobs, costs.get(key)) for key in keys]
    return [*files, *shards], [error for error in (folder_error, jobs_error) if error]


def held_back(instance: DagsterInstance, spec: WorkloadSpec, store: Store) -> str:
    """Why shards are not sent until a person does something; empty if none is held back."""
    ledger = Ledger.of(spec)
    ledger.refresh(instance)
    return on_hold_note(ledger.n_on_hold) if ledger.n_on_hold else approval_awaited(instance, spec, store)


def approval_awaited(instance: DagsterInstance, spec: WorkloadSpec, store: Store) -> str:
    """For what a person is waited for; empty if for nothing."""
    if not (isinstance(spec, PipelineSpec) and spec.approval):
        return ""
    ledger = Ledger.of(spec)
    ledger.refresh(instance)
    return approval_note(store, spec, ledger)


def _files(instance: DagsterInstance, spec: WorkloadSpec, store: Store) -> tuple[list[ShardProgress], str | None]:
    """The files in the folder of an inbox, and the error if it cannot be listed."""
    if not isinstance(spec, InboxSpec):
        return [], None
    try:
        found = files_in_folder(instance, store, spec)
    except StoreError as error:
        return [], f"no news of its folder: {error}"
    states = [(file.shown, REFUSED if reason else WAITING, reason) for file, reason in found]
    return [ShardProgress(spec.name, name, state, message=reason) for name, state, reason in states], None


def _answered(ledger: Ledger, shard: str) -> bool:
    entry = ledger.entries.get(shard)
    return bool(entry and entry.state is RequestState.ANSWERED)


def _jobs(spec: WorkloadSpec, bedrock: Jobs | None, waiting: Sequence[Entry]) -> tuple[dict[str, Job], str | None]:
    """The jobs of open requests by ARN, and the error if they could not be listed."""
    wanted = {entry.job_arn for entry in waiting if entry.job_arn}
    if not wanted or bedrock is None:
        return {}, None
    since = datetime.now(UTC) - LOOK_BACK
    try:
        jobs = list(bedrock.list(since=since, name_contains=name_prefix(spec.name)))
    except BedrockError as error:
        return {}, f"no news of its jobs: {error}"
    return {job.arn: job for job in jobs if job.arn in wanted}, None


def _costs(spec: WorkloadSpec, store: Store, shards: Sequence[str]) -> dict[str, float]:
    price = price_of(spec)
    if price is None:
        return {}

    def cost(shard: str) -> float | None:
        key = outputs_key(spec.name, shard, spec.folder_of(shard))
        facts = store.intact_facts(key)
        return price.cost_usd(OutputFacts.model_validate(facts).tokens) if facts else None

    costs = zip(shards, map_ordered(cost, shards, N_READERS), strict=True)
    return {shard: cost_usd for shard, cost_usd in costs if cost_usd is not None}


def _progress(
    spec: WorkloadSpec, shard: str, entry: Entry | None, jobs: Mapping[str, Job], cost_usd: float | None
) -> ShardProgress:
    if entry is None:
        return ShardProgress(spec.name, shard, NOT_ASKED)
    request, job = entry.request, jobs.get(entry.job_arn or "") if entry.state.is_open else None
    n_done = job.n_processed if job else 0 if entry.state.is_open else request.n_records
    per_min = _pace(job)
    return ShardProgress(
        pipeline=spec.name,
        shard=shard,
        state=job.status.value if job else entry.state.value,
        n_records=request.n_records,
        n_done=0 if entry.state in (RequestState.FAILED, RequestState.WITHDRAWN) else n_done,
        records_per_min=per_min,
        eta_min=(request.n_records - n_done) / per_min if per_min else None,
        attempt=request.attempt,
        inference_mode=request.inference_mode.value,
        cost_usd=cost_usd if entry.state is RequestState.ANSWERED else None,
        is_answered=entry.state is RequestState.ANSWERED,
        estimated_usd=request.estimated_usd,
        job_arn=entry.job_arn,
        request_state=entry.state.value,
        job_status=job.status.value if job else "",
        message=entry.message,
    )


def _pace(job: Job | None) -> float | None:
    """Records a minute since the job was submitted; Bedrock does not report when it started."""
    if job is None or job.status is not JobStatus.IN_PROGRESS or not job.n_processed:
        return None
    return job.n_processed * 60 / max(1.0, (datetime.now(UTC) - job.submitted_at).total_seconds())
