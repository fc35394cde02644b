"""The keys of all documents and tables in the store."""

import re

from bedrock_assets.storage.manifests import ShardManifest

PREPARED = "table-incoming"
"""Folder of parts that are not published yet."""
FORMER = "table-former"
"""Folder of parts that were published before, for those who still read them."""
SUBMIT_TURN = "submit-turn.json"
"""Which tick of which sensor may create jobs now (`SubmitTurn`)."""


def shard_key(index: int, n_shards: int) -> str:
    """The partition key of a shard; it includes the number of shards."""
    return f"{index:05d}-of-{n_shards:05d}"


def shard_bit(key: str) -> int:
    """`1 << shard index`."""
    return 1 << int(key.partition("-")[0])


def is_planned(key: str, n_shards: int) -> bool:
    """Whether *key* belongs to a plan of *n_shards* shards."""
    return key.endswith(f"-of-{n_shards:05d}")


def raw_manifest_key(pipeline: str) -> str:
    """The dataset's shards and parts (`RawManifest`)."""
    return f"{pipeline}/raw/manifest.json"


def raw_part_key(pipeline: str, ingest: str, index: int) -> str:
    """Each ingest writes into its own folder, so that readers of the previous one are not disturbed."""
    return f"{pipeline}/raw/{ingest}/part-{index:05d}.parquet"


def shards_folder(pipeline: str) -> str:
    """Folder of the prompts of all shards."""
    return f"{pipeline}/prompts"


def shard_folder(pipeline: str, shard: str) -> str:
    """Folder of a shard's prompts."""
    return f"{shards_folder(pipeline)}/{shard}"


def shard_manifest_key(pipeline: str, shard: str) -> str:
    """What a shard's prompts are made of (`ShardManifest`)."""
    return f"{shard_folder(pipeline, shard)}/manifest.json"


def attempt_folder(pipeline: str, shard: str, fingerprint: str, attempt: int, folder: str = "") -> str:
    """Where Bedrock writes the output of one attempt, in a folder named after the job's id."""
    return f"{folder or f'{pipeline}/jobs/{shard}'}/{fingerprint}-{attempt}"


ON_DEMAND_FOLDER = "on-demand"
"""Folder of on-demand answers within an attempt, where a job's answers are under the job's id."""


def job_folder(shard: ShardManifest, attempt: int, arn: str) -> str:
    """Folder with the answers of one attempt: of its job, or, without a job, on demand."""
    folder = attempt_folder(shard.pipeline, shard.shard.key, shard.fingerprint, attempt, shard.folder)
    return f"{folder}/{arn.rpartition('/')[2] or ON_DEMAND_FOLDER}"


def outputs_folder(pipeline: str) -> str:
    """Folder of the collected outcomes."""
    return f"{pipeline}/outputs"


def outputs_key(pipeline: str, shard: str, folder: str = "") -> str:
    """The outcomes of a shard, one row for each of its rows."""
    return f"{folder or outputs_folder(pipeline)}/{shard}.parquet"


def table_manifest_key(pipeline: str) -> str:
    """The published parts of the table (`TableManifest`)."""
    return f"{pipeline}/table/manifest.json"


def publish_lock_key(pipeline: str) -> str:
    """Lock for publishing the table; outside its folder, which is for readers."""
    return f"{pipeline}/table-lock.json"


def sink_lock_key(pipeline: str, asset: str) -> str:
    """Lock for writing to a sink, by the name of its asset."""
    return f"{pipeline}/sinks/{asset}-lock.json"


def table_part_key(pipeline: str, index: int) -> str:
    """A published part of the table."""
    return f"{pipeline}/table/part-{index:05d}.parquet"


def prepared_part_key(pipeline: str, shard: str) -> str:
    """A shard's part of the table before it is published."""
    return f"{pipeline}/{PREPARED}/{shard}.parquet"


def former_part_key(pipeline: str, identity: str) -> str:
    """A part of a table that was published before, by what it is made of (`Part.identity`)."""
    return f"{pipeline}/{FORMER}/{identity}.parquet"


def preflight_key(pipeline: str, form: str) -> str:
    """What is known of one form of request (`PreflightState`)."""
    return f"{pipeline}/preflight/{form}.json"


def approval_key(pipeline: str) -> str:
    """A person's yes to the canary's answers (`Approval`)."""
    return f"{pipeline}/approval.json"


def preferences_key(pipeline: str) -> str:
    """The preference pairs of a `compare` task."""
    return f"{pipeline}/preferences.parquet"


def report_key(pipeline: str) -> str:
    """A page about the table, for people."""
    return f"{pipeline}/report.html"


def attempt_input_key(pipeline: str, shard: str, fingerprint: str, attempt: int) -> str:
    """The records of a second or later attempt: those that earlier attempts left unanswered."""
    return f"{shard_folder(pipeline, shard)}/{fingerprint}-{attempt}.jsonl"


_OWNERS = {
    "raw": "raw_dataset",
    "prompts": "prompt_shards",
    "answers": "prompt_shards",
    "jobs": "batch_outputs",
    "outputs": "batch_outputs",
    "table": "joined_table",
    PREPARED: "joined_table",
    FORMER: "joined_table",
}
"""The asset that writes each folder of a pipeline."""
_SHARD = re.compile(r"/(\d{5}-of-\d{5})[/.]")


def cure_of(key: str) -> str:
    """What to do about a file of a pipeline that is missing or broken, as the end of a message; empty for others."""
    pipeline, _, rest = key.partition("/")
    asset, shard = _OWNERS.get(rest.partition("/")[0]), _SHARD.search(key)
    if asset is None:
        return ""
    return f"; materialize {pipeline}/{asset}{f' for shard {shard[1]}' if shard else ''} again, which writes it anew"
