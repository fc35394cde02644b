"""The keys of all documents and tables in the store."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
from bedrock_assets.storage.manifests import ShardManifest

PREPARED = "table-incoming"
"""Folder of the parts that are not published yet."""


def shard_key(index: int, n_shards: int) -> str:
    """The partition key of a shard, which tells how many there are."""
    return f"{index:05d}-of-{n_shards:05d}"


def shard_bit(key: str) -> int:
    """The number whose only bit stands for a shard, by its index."""
    return 1 << int(key.partition("-")[0])


def is_planned(key: str, n_shards: int) -> bool:
    """Whether *key* is one of so many shards."""
    return key.endswith(f"-of-{n_shards:05d}")


def raw_manifest_key(pipeline: str) -> str:
    return f"{pipeline}/raw/manifest.json"


def raw_part_key(pipeline: str, ingest: str, index: int) -> str:
    """Each ingest writes into a folder of its own, so that readers of the last one are not disturbed."""
    return f"{pipeline}/raw/{ingest}/part-{index:05d}.parquet"


def shard_folder(pipeline: str, shard: str) -> str:
    return f"{pipeline}/prompts/{shard}"


def shard_manifest_key(pipeline: str, shard: str) -> str:
    return f"{shard_folder(pipeline, shard)}/manifest.json"


def attempt_folder(pipeline: str, shard: str, fingerprint: str, attempt: int, folder: str = "") -> str:
    """Where Bedrock writes one job's output: under a folder named by the job's id."""
    return f"{folder or f'{pipeline}/jobs/{shard}'}/{fingerprint}-{attempt}"


ON_DEMAND_FOLDER = "on-demand"
"""Below an attempt's folder, where a job's answers stand under the job's id."""


def job_folder(shard: ShardManifest, attempt: int, arn: str) -> str:
    """Where the answers of one attempt stand; of one without a job those that were given on demand."""
    folder = attempt_folder(shard.pipeline, shard.shard.key, shard.fingerprint, attempt, shard.folder)
    return f"{folder}/{arn.rpartition('/')[2] or ON_DEMAND_FOLDER}"


def outputs_folder(pipeline: str) -> str:
    return f"{pipeline}/outputs"


def outputs_key(pipeline: str, shard: str, folder: str = "") -> str:
    return f"{folder or outputs_folder(pipeline)}/{shard}.parquet"


def table_manifest_key(pipeline: str) -> str:
    return f"{pipeline}/table/manifest.json"


def publish_lock_key(pipeline: str) -> str:
    """Who publishes the table; not in its folder, as that is the reader's."""
    return f"{pipeline}/table-lock.json"


def table_part_key(pipeline: str, index: int) -> str:
    return f"{pipeline}/table/part-{index:05d}.parquet"


def prepared_part_key(pipeline: str, shard: str) -> str:
    """Where a shard's part of the table waits to be published."""
    return f"{pipeline}/{PREPARED}/{shard}.parquet"


def preferences_key(pipeline: str) -> str:
    return f"{pipeline}/preferences.parquet"


def attempt_input_key(pipeline: str, shard: str, fingerprint: str, attempt: int) -> str:
    """The records of a second or later attempt: those the earlier ones left unanswered."""
    return f"{shard_folder(pipeline, shard)}/{fingerprint}-{attempt}.jsonl"
