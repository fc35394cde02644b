"""A request: one shard that somebody wants answers for, and the name of the job that answers it."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from bedrock_assets.storage.keys import attempt_folder
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store
from bedrock_assets.units import counted

NAME_PREFIX = "ba"
MAX_SHARD_CHARS = 20
"""Characters of a shard's key in the name of its job, so that the name has 63 characters at most."""


class RequestStatus(StrEnum):
    """Whether a request is still to be served."""

    WANTED = "wanted"
    ON_HOLD = "on hold"
    """The dataset has changed since; prompts were not made again yet, so nothing more is submitted."""
    RECONFIGURED = "reconfigured"
    """The pipeline's model, prompt, parameters or schema are others by now; nothing is sent or collected until prompts
    are made with them, or the change is undone."""
    STALE = "stale"
    """The prompts have changed since, or the shard is no longer planned: the answers would not be joined."""
    WITHDRAWN = "withdrawn"
    """A person has cancelled the run that made the request."""


def on_hold_note(n_shards: int) -> str:
    """What a person does about shards that are `ON_HOLD`."""
    return f"{counted(n_shards, 'shard')} on hold: raw_dataset is newer than their prompts; materialize prompt_shards"


@dataclass(frozen=True)
class Request:
    """One shard that somebody wants answers for; recorded as an observation in Dagster's event log."""

    pipeline: str
    shard: str
    fingerprint: str
    attempt: int
    prompts: str
    """Key of the JSONL file to send."""
    n_records: int
    run_id: str
    """The Dagster run that made the request."""
    backfill_id: str | None = None
    """The Dagster backfill the run belongs to, if any."""
    storage_id: int = 0
    """Position in the event log; later requests have higher ones."""
    inference_mode: InferenceMode = InferenceMode.BATCH
    former_jobs: tuple[str, ...] = ()
    """ARN of the job of each earlier attempt; empty for an attempt on demand."""
    former_where: tuple[str, ...] = ()
    """`where` of each earlier attempt; empty where it is not known, which is the pipeline's first target."""
    where: str = ""
    """
    Name of the target at which its job was, or may have been, created, so that it is submitted to no other; empty
    until it is first submitted. Only `Regions` and the spec's targets know what it stands for.
    """
    raw_revision: str = ""
    """Revision of the dataset that the prompts were made from."""
    blocked_by: int = 0
    """Shards that share prompts with it and are collected before it: bit i stands for shard i, see `shard_bit`."""
    estimated_usd: float | None = None
    """What it may cost; None where the price is not known."""
    last_attempt: int = 1
    """The attempt after which unanswered records are left as they are."""
    status: RequestStatus = RequestStatus.WANTED
    requested_at: float = 0.0
    """Seconds since 1970."""
    configuration: str = ""
    """`Workload.configuration` of its prompts, as JSON; empty if it is not known."""
    folder: str = ""
    """Where its job writes, if not among the pipeline's own folders; see `ShardManifest.folder`."""

    @property
    def identity(self) -> str:
        """Names this request in tags and run keys."""
        # Positions in the log are given again after its last events were deleted; the run is another one then.
        return f"{self.pipeline}/{self.shard}/{self.storage_id}-{self.run_id[:8]}"

    @property
    def content(self) -> tuple[str, str, str, int, InferenceMode]:
        """What is paid for, whoever requests it; its job, if it has one, is named after it."""
        return self.pipeline, self.shard, self.fingerprint, self.attempt, self.inference_mode

    @property
    def all_where(self) -> tuple[str, ...]:
        """`where` of each attempt so far, one for each; empty where it is not known."""
        n_unknown = len(self.former_jobs) - len(self.former_where)
        return (*("",) * n_unknown, *self.former_where, self.where)

    @property
    def output_folder(self) -> str:
        """Folder of the store below which Bedrock makes the folder of the request's job."""
        return attempt_folder(self.pipeline, self.shard, self.fingerprint, self.attempt, self.folder)

    def job_name(self, store: Store) -> str:
        """The name of the request's job."""
        uri = store.uri(self.output_folder)
        return job_name(self.pipeline, self.shard, self.fingerprint, self.attempt, uri)


@dataclass(frozen=True)
class SubmitOption:
    """A way to submit a request: where its job would be created, and the pool that caps it."""

    where: str
    pool: str


def job_name(pipeline: str, shard: str, fingerprint: str, attempt: int, output_uri: str) -> str:
    """
    The job's name and idempotency token: the same for the same paid content, whoever requests it and however often.

    The output URI is part of it, so that two deployments in one account never adopt each other's jobs.
    """
    digest = hashlib.sha256("\n".join([fingerprint, str(attempt), output_uri]).encode()).hexdigest()
    legible = re.sub(r"[^A-Za-z0-9.-]", "-", shard)[:MAX_SHARD_CHARS]
    return f"{name_prefix(pipeline)}{legible}-{digest[:12]}-{attempt}"


def name_prefix(pipeline: str) -> str:
    """The beginning of the names of all jobs of a pipeline: up to 27 of the 63 characters a name may have."""
    return f"{NAME_PREFIX}-{pipeline.replace('_', '-').strip('-')[:23]}-"
