"""The documents that stages leave for each other in the store, and the keys they stand under."""

from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from typing_extensions import Buffer

from enum import StrEnum


class Digest(Protocol):
    """A running hash, as `hashlib` makes them."""

    def update(self, data: "Buffer", /) -> None: ...

    def hexdigest(self) -> str: ...


class Document(BaseModel):
    """Base of all: immutable, JSON in the store."""

    model_config = ConfigDict(frozen=True)


class Shard(Document):
    """A contiguous piece of the dataset that becomes one job."""

    key: str
    """`00000-of-00045`: the partition key."""
    offset: int
    """Position of its first row in the dataset, from 0."""
    n_rows: int


class Part(Document):
    """One Parquet file of a table."""

    key: str
    n_rows: int
    n_bytes: int


class RawManifest(Document):
    """What `raw_dataset` wrote: `{pipeline}/raw/manifest.json`."""

    source: str
    revision: str
    """Hash of all rows in order and of the shards: the same input gives the same revision."""
    n_rows: int
    n_sendable: int
    """Rows for which a record could be made; the others are error rows."""
    prompt_bytes: int
    """Bytes of all JSONL records."""
    record_id: str
    """Name of the record id column."""
    columns: dict[str, str]
    """The input's columns and polars dtypes, as text."""
    parts: tuple[Part, ...]
    shards: tuple[Shard, ...]


class ShardManifest(Document):
    """What `prompt_shards`, or an inbox, wrote for one shard: `{pipeline}/prompts/{shard}/manifest.json`."""

    pipeline: str
    shard: Shard
    raw_revision: str
    fingerprint: str
    """Hash of the records, the content, the model and the way it is invoked: the identity of what is asked."""
    content: str
    """Hash of what all rows say, whether they are sent or not."""
    prompts: str
    """Key of the JSONL file with the records to send."""
    rest: str
    """Key of another one, if `n_reused` is not 0: the records whose prompts are answered elsewhere."""
    blocked_by: str = "0"
    """Shards that are asked some of its prompts, as they have them too and were formatted before: a hexadecimal
    number whose bit i stands for shard i."""
    rows: str
    """Key of the Parquet file with the fate of each row, as `Content.fates` gives it."""
    n_records: int
    """Records in the JSONL file, the padding included."""
    n_rejected: int
    """Rows without a record."""
    n_padding: int
    n_reused: int
    """Rows that are not sent because their prompts are answered elsewhere."""
    n_duplicates: int
    """Rows that are not sent because another row of the shard has the same prompt."""
    n_bytes: int
    sha256: str
    """Of the JSONL file."""
    model: str
    model_invocation_type: str
    parameters: dict[str, object]
    prompt_id: str | None
    prompt_sha256: str | None
    folder: str = ""
    """Where all that comes of it is written, if it does not stand among the pipeline's own."""


class OutputFacts(Document):
    """What stands in the metadata of `outputs/{shard}.parquet`."""

    fingerprint: str
    """Of the prompts that are answered."""
    version: str
    """Hash of the answers."""
    tokens: dict[str, tuple[int, int]] = {}
    """Input and output tokens that were paid for, by inference mode."""
    n_records: int = 0
    """Answers that were paid for."""
    n_bytes: int = 0
    """Of the shard's records."""


class PartFacts(Document):
    """What stands in the metadata of a table's part."""

    identity: str
    """Hash of its rows, of the answers beside them and of the columns' names."""
    n_rows: int
    counts: dict[str, int]
    """Rows by status, `truncated` ones, and `output_tokens`."""
    columns: dict[str, str]


class TableManifest(Document):
    """What `joined_table` wrote, last of all: `{pipeline}/table/manifest.json`."""

    revision: str
    """Hash of the dataset's revision and of the answers that went in."""
    n_rows: int
    n_ok: int
    n_error: int
    n_missing: int
    n_truncated: int = 0
    """Answers that a limit on tokens cut short."""
    tokens: dict[str, tuple[int, int]] = {}
    """Input and output tokens that were paid for its answers, by inference mode."""
    mean_output_tokens: float | None = None
    """Of the rows with an answer, reused ones too; None where the model reports none, as for embeddings."""
    columns: dict[str, str]
    parts: tuple[Part, ...]


class InferenceMode(StrEnum):
    """How records reach the model."""

    BATCH = "batch"
    ON_DEMAND = "on_demand"
    """One call a record, at the full price: for fewer records than Bedrock takes in a job."""


class ReusedFrom(StrEnum):
    """What the column `answer_source` says of an answer that took no call."""

    CACHE = "cache"
    """The same prompt was answered before, or for another shard."""
    DUPLICATE = "duplicate"
    """Another row of the shard has the same prompt."""
