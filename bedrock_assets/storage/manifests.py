"""The documents that stages leave in the store for each other."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Digest(Protocol):
    """A running hash, such as those of `hashlib`."""

    def update(self, data: "Buffer", /) -> None:
        """Add *data*."""

    def hexdigest(self) -> str:
        """The hash of all data so far, in hexadecimal digits."""
        ...


class Document(BaseModel):
    """Base of all documents: immutable, JSON in the store."""

    model_config = ConfigDict(frozen=True)


class Shard(Document):
    """A contiguous part of the dataset, sent as one job."""

    key: str
    """Partition key, such as `00000-of-00045`."""
    offset: int
    """Position of its first row in the dataset, counted from 0."""
    n_rows: int


class Part(Document):
    """One Parquet file of a table."""

    key: str
    n_rows: int
    n_bytes: int
    identity: str = ""
    """Of a part of a published table: `PartFacts.identity` of the file that belongs to this manifest."""


class RawManifest(Document):
    """The result of `raw_dataset`: `{pipeline}/raw/manifest.json`."""

    source: str
    revision: str
    """Hash of all rows in order, and of the shards; the same for the same input."""
    n_rows: int
    n_sendable: int
    """Rows that have a record; the others are error rows."""
    prompt_bytes: int
    """Bytes of all records."""
    record_id: str
    """Name of the record id column."""
    columns: dict[str, str]
    """Columns of the input and their polars dtypes, as text."""
    parts: tuple[Part, ...]
    shards: tuple[Shard, ...]


class ShardManifest(Document):
    """The result of `prompt_shards`, or of an inbox, for one shard: `{pipeline}/prompts/{shard}/manifest.json`."""

    pipeline: str
    shard: Shard
    raw_revision: str
    fingerprint: str
    """Hash of the records, the content, the model and its invocation type: what decides the answers."""
    content: str
    """Hash of what all rows say, sent or not."""
    prompts: str
    """Key of the JSONL file with the records to send."""
    rest: str
    """If `n_reused` is not 0: key of a JSONL file with the records whose prompts are answered elsewhere."""
    blocked_by: str = "0"
    """Shards formatted earlier that send some of the same prompts: a hexadecimal number whose bit i is for shard i."""
    rows: str
    """Key of the Parquet file that says for each row whether and where it is answered."""
    n_records: int
    """Records in the JSONL file, including padding."""
    n_rejected: int
    """Rows without a record."""
    n_padding: int
    n_reused: int
    """Rows not sent because their prompts are answered elsewhere."""
    n_duplicates: int
    """Rows not sent because another row of the shard has the same prompt."""
    n_redacted: dict[str, int] = {}
    """Values that were replaced in its rows, by kind; empty where nothing is redacted."""
    n_bytes: int
    sha256: str
    """Hash of the JSONL file."""
    model: str
    model_invocation_type: str
    parameters: dict[str, object]
    configuration: dict[str, str] = {}
    """What the records were made with, see `Workload.configuration`; empty in a manifest of an earlier version."""
    prompt_id: str | None
    prompt_sha256: str | None
    folder: str = ""
    """Folder for everything that comes of the shard, if not among the pipeline's own."""
    n_renamed: int = 0
    """Of a file in an inbox: records that are sent under an id of ours, because theirs is absent or repeated."""


class TokenCount(NamedTuple):
    """Tokens that were paid for; None where nobody tells how many."""

    n_input: int | None
    """Those of a cache included."""
    n_output: int | None
    n_cache_read: int = 0
    n_cache_written: int = 0

    def __add__(self, other: "TokenCount") -> "TokenCount":  # pyright: ignore[reportIncompatibleMethodOverride]
        """The sum; what is unknown in one of them is unknown."""
        return TokenCount(
            _sum(self.n_input, other.n_input),
            _sum(self.n_output, other.n_output),
            self.n_cache_read + other.n_cache_read,
            self.n_cache_written + other.n_cache_written,
        )

    @property
    def is_known(self) -> bool:
        """Whether both are told."""
        return self.n_input is not None and self.n_output is not None


def _told(written: Any) -> Any:
    """
    A count as it was written.

    Earlier versions wrote 0 where nobody had told, in counts of two: no record has a prompt without tokens.
    """
    match written:
        case [0, int()]:
            return None, None
        case _:
            return written


ToldTokens = Annotated[TokenCount, BeforeValidator(_told)]


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class OutputFacts(Document):
    """Our entry in the metadata of `outputs/{shard}.parquet`."""

    fingerprint: str
    """Fingerprint of the answered prompts."""
    version: str
    """Hash of the answers."""
    tokens: dict[str, ToldTokens] = {}
    """Tokens that were paid for, by inference mode."""
    n_records: int = 0
    """Answers that were paid for."""
    n_bytes: int = 0
    """Bytes of the shard's records."""


class PartFacts(Document):
    """Our entry in the metadata of a part of a table."""

    identity: str
    """Hash of its rows, their answers and the column names."""
    n_rows: int
    counts: dict[str, int]
    """Rows by status, `truncated` rows, `told` rows (that tell their output tokens), and `output_tokens`."""
    columns: dict[str, str]


class TableManifest(Document):
    """The result of `joined_table`, written last: `{pipeline}/table/manifest.json`."""

    revision: str
    """Hash of the dataset's revision and of the answers."""
    n_rows: int
    n_ok: int
    n_error: int
    n_missing: int
    n_truncated: int = 0
    """Answers that a token limit cut short."""
    tokens: dict[str, ToldTokens] = {}
    """Tokens that were paid for its answers, by inference mode."""
    mean_output_tokens: float | None = None
    """Over all rows that tell theirs, reused ones too; None if none does, as for embeddings."""
    columns: dict[str, str]
    parts: tuple[Part, ...]


class Approval(Document):
    """A person's yes to the answers of a canary: `{pipeline}/approval.json`."""

    shard: str
    """Key of the canary."""
    fingerprint: str
    """Fingerprint of its prompts, which includes the model."""
    content: str
    """Hash of what all of its rows say to the model, sent or not."""
    approved_by: str
    approved_at: datetime
    despite_thresholds: bool = False
    """Whether its answers may miss the thresholds."""

    def counts_for(self, canary: ShardManifest) -> bool:
        """Whether it is about these prompts; a canary planned anew counts if it is sent nothing, and says the same."""
        return self.fingerprint == canary.fingerprint or (self.content == canary.content and not canary.n_records)


class InferenceMode(StrEnum):
    """How records are sent to the model."""

    BATCH = "batch"
    ON_DEMAND = "on_demand"
    """One call per record, at full price: for fewer records than Bedrock accepts in a job."""


class ReusedFrom(StrEnum):
    """Values of the column `answer_source` for answers that took no call."""

    CACHE = "cache"
    """The same prompt was answered earlier, or for another shard."""
    DUPLICATE = "duplicate"
    """Another row of the shard has the same prompt."""
