"""What is wanted of Bedrock, what Bedrock says of it, and what to do next: the vocabulary of the reconciler."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from bedrock_assets.storage.keys import attempt_folder
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store

NAME_PREFIX = "ba"
MAX_SHARD_CHARS = 20
"""Of a shard's key in the name of its job, so that the name has 63 characters at most."""


class RequestStatus(StrEnum):
    """Whether a request is still to be served."""

    WANTED = "wanted"
    ON_HOLD = "held"
    """The dataset has changed since; the prompts have not been made anew yet, so nothing more is submitted."""
    STALE = "stale"
    """The prompts have changed since, or the shard is no longer planned: the answers would not be joined."""
    WITHDRAWN = "withdrawn"
    """The run that asked was cancelled."""


@dataclass(frozen=True)
class Request:
    """One shard that somebody asked answers for; recorded as an observation in Dagster's event log."""

    pipeline: str
    shard: str
    fingerprint: str
    attempt: int
    prompts: str
    """Key of the JSONL file to send."""
    n_records: int
    run_id: str
    """The Dagster run that asked."""
    backfill_id: str | None = None
    """The Dagster backfill the run belongs to, if any."""
    storage_id: int = 0
    """Position in the event log; later requests have higher ones."""
    inference_mode: InferenceMode = InferenceMode.BATCH
    former_jobs: tuple[str, ...] = ()
    """ARN of the job of each earlier attempt; empty for one that was answered on demand."""
    former_targets: tuple[str, ...] = ()
    """Name of the target of each earlier attempt; empty where it is not known, which is the pipeline's first."""
    target: str = ""
    """
    Name of the target that its job was, or may have been, created at, so that it is submitted to no other; empty as
    long as it was not tried anywhere.
    """
    raw_revision: str = ""
    """Revision of the dataset that the prompts were made of."""
    blocked_by: int = 0
    """Shards that are asked some of its prompts, so that it is collected after them: bit i stands for shard i."""
    estimated_usd: float | None = None
    """What it may cost; None where the price is not known."""
    last_attempt: int = 1
    """The attempt after which what is still unanswered is left as it is."""
    status: RequestStatus = RequestStatus.WANTED
    asked_at: float = 0.0
    """Seconds since 1970."""
    folder: str = ""
    """Where its job writes, if not among the pipeline's own; see `ShardManifest.folder`."""

    @property
    def identity(self) -> str:
        """Names this request in tags and run keys."""
        return f"{self.pipeline}/{self.shard}/{self.storage_id}"

    @property
    def content(self) -> tuple[str, str, str, int, InferenceMode]:
        """What is asked, whoever asks; its job is named after it, if it has one."""
        return self.pipeline, self.shard, self.fingerprint, self.attempt, self.inference_mode

    @property
    def targets(self) -> tuple[str, ...]:
        """Name of the target of each attempt so far, as many as there are; empty where it is not known."""
        unknown = len(self.former_jobs) - len(self.former_targets)
        return (*("",) * unknown, *self.former_targets, self.target)


@dataclass(frozen=True)
class SubmitOption:
    """A way to submit a request: where its job would be created, and the pool that caps it."""

    target: str
    pool: str


def job_name(pipeline: str, shard: str, fingerprint: str, attempt: int, output_uri: str) -> str:
    """
    The job's name and idempotency token: the same for the same paid content, whoever asks and however often.

    The output URI is part of it, so that two deployments in one account never adopt each other's jobs.
    """
    digest = hashlib.sha256("\n".join([fingerprint, str(attempt), output_uri]).encode()).hexdigest()
    legible = re.sub(r"[^A-Za-z0-9.-]", "-", shard)[:MAX_SHARD_CHARS]
    return f"{name_prefix(pipeline)}{legible}-{digest[:12]}-{attempt}"


def name_prefix(pipeline: str) -> str:
    """What the names of all jobs of a pipeline begin with: up to 27 of the 63 characters a name may have."""
    return f"{NAME_PREFIX}-{pipeline.replace('_', '-').strip('-')[:23]}-"


def name_of(store: Store, request: Request) -> str:
    """The name of the request's job."""
    return job_name(request.pipeline, request.shard, request.fingerprint, request.attempt, output_uri(store, request))


def output_uri(store: Store, request: Request) -> str:
    """Where Bedrock makes the folder of the request's job."""
    folder = attempt_folder(request.pipeline, request.shard, request.fingerprint, request.attempt, request.folder)
    return store.uri(folder)
