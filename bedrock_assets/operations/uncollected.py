"""Jobs that are paid and that nobody is about to collect: their run, partition or pipeline was deleted."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dagster import DagsterInstance

from bedrock_assets.aws.job import Job
from bedrock_assets.config.pipeline import WorkloadSpec
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
    ledgers = {spec.name: Ledger.of(spec) for spec in specs}
    for ledger in ledgers.values():
        ledger.refresh(instance)
    for job in jobs:
        pipeline, shard, attempt = _place_of(store, job)
        cure = shard and not _is_known(ledgers, pipeline, job) and _cure(instance, store, ledgers, pipeline, shard)
        if cure and not _is_collected(store, pipeline, shard, attempt):
            yield UncollectedJob(job, pipeline, shard, cure)


def _place_of(store: Store, job: Job) -> tuple[str, str, str]:
    """Pipeline, shard, and `<fingerprint>-<attempt>` of a job; empty for a job of another store or of an inbox."""
    root = store.uri("x")[:-1]
    parts = job.output_uri.removeprefix(root).strip("/").split("/")
    if not job.output_uri.startswith(root) or len(parts) != 4 or parts[1] != "jobs":  # noqa: PLR2004 - see `attempt_folder`
        return "", "", ""
    return parts[0], parts[2], parts[3]


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


def _is_collected(store: Store, pipeline: str, shard: str, attempt: str) -> bool:
    """Whether the shard's answers are there, or its prompts are others by now."""
    fingerprint = attempt.rpartition("-")[0]
    manifest = store.read_model(shard_manifest_key(pipeline, shard), ShardManifest)
    if manifest is None or manifest.fingerprint != fingerprint:
        return True
    key = outputs_key(pipeline, shard)
    return store.exists(key) and OutputFacts.model_validate(store.parquet_facts(key)).fingerprint == fingerprint
