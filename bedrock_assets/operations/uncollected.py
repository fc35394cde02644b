"""Jobs that are paid and that nobody is about to collect: their run, partition or pipeline was deleted."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dagster import DagsterInstance

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.jobs.partitions import shards_of
from bedrock_assets.storage.keys import outputs_key, shard_manifest_key
from bedrock_assets.storage.manifests import OutputFacts, ShardManifest
from bedrock_assets.storage.store import Store


@dataclass(frozen=True)
class UncollectedJob:
    """A job of this store that no request waits for."""

    job: Job
    pipeline: str
    shard: str
    cure: str
    """What to do to collect its answers."""

    def __str__(self) -> str:
        return f"{self.job.name} ({self.job.status}) of shard {self.shard}: {self.cure}"


def uncollected_jobs(
    instance: DagsterInstance, store: Store, jobs: Iterable[Job], specs: Iterable[WorkloadSpec]
) -> Iterator[UncollectedJob]:
    """
    Find jobs whose answers are wanted or paid, and that no request is about to collect.

    Args:
        jobs: Those to look at, of any owner: a job is ours if it writes into *store*.
        specs: Those of all pipelines and inboxes.
    """
    specs = list(specs)
    ledgers, inboxes = {spec.name: Ledger.of(spec) for spec in specs}, [s for s in specs if isinstance(s, InboxSpec)]
    for ledger in ledgers.values():
        ledger.refresh(instance)
    for job in jobs:
        pipeline, shard, attempt, inbox = _place_of(store, job, inboxes)
        if not shard or _has_nothing(job) or _is_known(ledgers, pipeline, job):
            continue
        cure = (
            _cure_of_file(instance, ledgers, inbox, shard)
            if inbox
            else _cure(instance, store, ledgers, pipeline, shard)
        )
        if cure and not _is_collected(store, pipeline, shard, attempt, inbox.folder_of(shard) if inbox else ""):
            yield UncollectedJob(job, pipeline, shard, cure)


def _place_of(store: Store, job: Job, inboxes: Iterable[InboxSpec]) -> tuple[str, str, str, InboxSpec | None]:
    """Pipeline or inbox, shard, and `<fingerprint>-<attempt>` of a job; empty for a job of another store."""
    root = store.uri("x")[:-1]
    parts = job.output_uri.removeprefix(root).strip("/").split("/")
    if job.output_uri.startswith(root) and len(parts) > 2:  # noqa: PLR2004 - a folder, a shard, an attempt
        *folder, shard, attempt = parts
        if folder[1:] == ["jobs"]:  # see `attempt_folder`
            return folder[0], shard, attempt, None
        for inbox in inboxes:
            if "/".join(folder) == inbox.processed_to:
                return inbox.name, shard, attempt, inbox
    return "", "", "", None


def _has_nothing(job: Job) -> bool:
    """Whether a job has ended before it asked the model for anything, as Bedrock refuses a file that is too small."""
    return job.status is JobStatus.FAILED and not job.n_processed


def _is_known(ledgers: Mapping[str, Ledger], pipeline: str, job: Job) -> bool:
    """Whether the log has a request that the job answers or answered."""
    entries = ledgers[pipeline].entries.values() if pipeline in ledgers else ()
    return any(job.arn == entry.job_arn or job.arn in entry.request.former_jobs for entry in entries)


def _cure(
    instance: DagsterInstance, store: Store, ledgers: Mapping[str, Ledger], pipeline: str, shard: str
) -> str | None:
    if pipeline not in ledgers:
        return f"there is no pipeline {pipeline} here; add it again under this name, then launch this shard"
    if store.read_model(shard_manifest_key(pipeline, shard), ShardManifest) is None:
        return None
    if shard not in shards_of(instance, pipeline):
        return f"materialize {pipeline}/raw_dataset to register it again, then launch it"
    entry = ledgers[pipeline].entries.get(shard)
    return None if entry and entry.state.is_open else f"launch this partition of {pipeline}/batch_outputs"


def _cure_of_file(instance: DagsterInstance, ledgers: Mapping[str, Ledger], inbox: InboxSpec, shard: str) -> str | None:
    entry = ledgers[inbox.name].entries.get(shard)
    if entry and entry.state.is_open:
        return None
    if shard in shards_of(instance, inbox.name):
        return f"launch this partition of {inbox.name}/batch_outputs"
    return f"move {inbox.folder_of(shard)}/{shard}.jsonl back into {inbox.dropped_to}, to be taken again"


def _is_collected(store: Store, pipeline: str, shard: str, attempt: str, folder: str) -> bool:
    """Whether the shard's answers are there, or its prompts are others by now."""
    fingerprint = attempt.rpartition("-")[0]
    manifest = store.read_model(shard_manifest_key(pipeline, shard), ShardManifest)
    if manifest is None or manifest.fingerprint != fingerprint:
        return True
    key = outputs_key(pipeline, shard, folder)
    return store.exists(key) and OutputFacts.model_validate(store.parquet_facts(key)).fingerprint == fingerprint
