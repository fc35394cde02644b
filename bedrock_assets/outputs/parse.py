"""
The third stage: read what Bedrock wrote for a job, and give every row of the shard its fate.

Lines come in any order and are split on `\\n` only. A line that is no JSON, an odd shape or an unknown id is
counted and kept as an error row where it can be told which row it is; nothing here raises for what a model said.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl
from pydantic import Field

from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.families import Family
from bedrock_assets.outputs.buffers import SeriesBuffer, VectorBuffer
from bedrock_assets.outputs.jsonlines import decode, decode_around_bad_lines
from bedrock_assets.outputs.outcomes import FIELDS, apply_schema, merge_tool_input
from bedrock_assets.pipeline.ids import PADDING_ID, WIRE_ID, wire_id
from bedrock_assets.storage.manifests import Document
from bedrock_assets.threads import map_ordered

STATUSES = ("ok", "error", "missing")
ANSWERS = {"text": "response", "embedding": "embedding"}
"""Name of the column that holds the answer, by kind of family."""
_STATUS = pl.Enum(STATUSES)
"""In this order, so that sorting puts successes first."""
RETRYABLE = (
    *("408", "424", "429", "500", "502", "503", "504", "529"),
    *("ModelTimeoutException", "ModelErrorException", "ModelNotReadyException"),
    *("ThrottlingException", "InternalServerException", "ServiceUnavailableException"),
)
"""Codes of record errors that another attempt may not meet, where Bedrock does not say so itself. Source: the errors
of InvokeModel (timeout, model error, throttling, service), Amazon Bedrock API reference, 2026-11."""
AT = "__at"
"""Where an answer lies among all answers that were read, Int64."""
RAW_CHARS = 500
"""Of an answer that could not be read, so much is kept in the error message."""


class JobManifest(Document):
    """`manifest.json.out`, as Bedrock writes it; later keys are ignored."""

    total_record_count: int | None = Field(default=None, alias="totalRecordCount")
    success_record_count: int | None = Field(default=None, alias="successRecordCount")
    error_record_count: int | None = Field(default=None, alias="errorRecordCount")
    input_token_count: int | None = Field(default=None, alias="inputTokenCount")
    output_token_count: int | None = Field(default=None, alias="outputTokenCount")


@dataclass(frozen=True)
class _Read:
    """What one chunk holds."""

    frame: pl.DataFrame
    """The columns of `Answers.index`; `AT` counts from the chunk's first answer."""
    answers: pl.Series
    """Without nulls."""
    n_lines: int
    n_unreadable: int


@dataclass
class Answers:
    """
    Collects a job's answers, a chunk at a time, in compact columns.

    Answers can be large, as vectors are, so they lie apart from the columns by which they are sorted and joined, and
    are brought into order once.
    """

    family: Family
    schema: AnswerSchema | None = None
    """What the answers are to conform to; its fields are a column of structs then."""
    values: SeriesBuffer | VectorBuffer = field(default_factory=SeriesBuffer)
    """The answers themselves; those of several attempts may lie together."""
    frames: list[pl.DataFrame] = field(default_factory=list)
    n_lines: int = 0
    n_unreadable: int = 0
    """Lines that are no JSON object or have no record id: no row can be told."""

    @property
    def answer(self) -> str:
        """Name of the column that holds the answer."""
        return ANSWERS[self.family.kind]

    def add(self, chunk: bytes) -> None:
        """Read whole lines of a `.jsonl.out` file."""
        self.add_all([chunk])

    def add_all(self, chunks: Iterable[bytes]) -> None:
        """Read a file's chunks, several at once."""
        for read in map_ordered(self._read_chunk, chunks):
            self.frames.append(read.frame.with_columns(pl.col(AT) + self.values.n))
            self.values.add(read.answers)
            self.n_lines += read.n_lines
            self.n_unreadable += read.n_unreadable

    def index(self) -> pl.DataFrame:
        """
        One row per wire id, the first success if there is one.

        Returns:
            wire_id String, status (`ok` or `error`), `AT` (where in `values` the answer is, null without one), with a
            schema `fields` Struct, stop_reason String, input_tokens and output_tokens Int64, error_code String,
            error_message String, retryable Boolean.
        """
        if not self.frames:
            self.add_all([b""])
        found = pl.concat(self.frames)
        if found["wire_id"].is_unique().all():
            return found
        return found.sort("status", maintain_order=True).unique("wire_id", keep="first")

    def outcomes(self) -> pl.DataFrame:
        """As `index`, with the answer itself instead of its place."""
        found = self.index()
        answers = self.values.take(found[AT]).alias(self.answer)
        return found.with_columns(answers).select(self.answer if name == AT else name for name in found.columns)

    def _read_chunk(self, chunk: bytes) -> _Read:
        schema = self._schema()
        frame = decode(chunk, schema, skip_input=self.family.kind == "text") if chunk else pl.DataFrame(schema=schema)
        lines = [line for line in chunk.split(b"\n") if line.strip()] if frame is None else []
        parts = list(decode_around_bad_lines(lines, schema, 0)) if frame is None else [(0, frame)]
        found = pl.concat([self._read(first, part, chunk) for first, part in parts])
        answered = pl.col(self.answer).is_not_null()
        place = pl.when(answered).then(answered.cum_sum().cast(pl.Int64) - 1).alias(AT)
        columns = [AT if name == self.answer else name for name in found.columns]
        return _Read(
            frame=found.with_columns(place).select(columns),
            answers=found[self.answer].drop_nulls(),
            n_lines=sum(len(part) for _, part in parts),
            n_unreadable=sum(part["recordId"].null_count() for _, part in parts),
        )

    def _schema(self) -> dict[str, pl.DataType]:
        flags = {"expired": pl.Boolean, "retryable": pl.Boolean}
        error = pl.Struct({"errorCode": pl.String, "errorMessage": pl.String, **flags})
        return {"recordId": pl.String(), "modelOutput": self.family.output, "error": error}

    def _read(self, first: int, part: pl.DataFrame, chunk: bytes) -> pl.DataFrame:
        """Rows of consecutive lines that tell of a record, from line *first* on."""
        # Bedrock ended the job before it came to these: they are unanswered, not failed.
        expired = pl.col("error").struct.field("expired").fill_null(False) & pl.col("modelOutput").is_null()
        error = pl.col("error").struct
        frame = part.with_row_index("line", first).filter(pl.col("recordId").is_not_null() & ~expired)
        read = frame.select(
            "line",
            wire_id="recordId",
            **{**self.family.answer, self.answer: self.values.fit(self.family.answer[self.answer])},
            error_code=error.field("errorCode"),
            error_message=error.field("errorMessage"),
            retryable=error.field("retryable"),
        )
        read = merge_tool_input(read, self.family, self.schema, chunk).with_columns(
            status=pl.when(pl.col(self.answer).is_not_null())
            .then(pl.lit("ok"))
            .otherwise(pl.lit("error"))
            .cast(_STATUS)
        )
        silent = pl.col("error_code").is_null() & pl.col("error_message").is_null() & (pl.col("status") == "error")
        if read.select(silent.any()).item():
            read = _with_raw(read, silent, chunk)
        read = apply_schema(read, self.family, self.schema)
        retryable = pl.col("retryable").fill_null(pl.col("error_code").is_in(RETRYABLE).fill_null(value=False))
        read = read.with_columns(retryable=retryable & (pl.col("status") == "error"))
        answer = [self.answer, *([FIELDS] if self.schema else [])]
        return read.select(*OUTCOME_COLUMNS[:2], *answer, *OUTCOME_COLUMNS[2:])


def _with_raw(read: pl.DataFrame, silent: pl.Expr, chunk: bytes) -> pl.DataFrame:
    """Rows that give neither an answer nor a reason have the beginning of their line as the reason."""
    rows = read.filter(silent)["line"].to_list()
    lines = [line for line in chunk.split(b"\n") if line.strip()]
    raw = pl.DataFrame(
        {"line": rows, "raw": [lines[i].decode("utf-8", "replace")[:RAW_CHARS] for i in rows]},
        schema={"line": read.schema["line"], "raw": pl.String},
    )
    return read.join(raw, on="line", how="left", maintain_order="left").with_columns(
        error_code=pl.when(silent).then(pl.lit("unrecognised_output")).otherwise("error_code"),
        error_message=pl.when(silent).then("raw").otherwise("error_message"),
    )


OUTCOME_COLUMNS = (
    "wire_id",
    "status",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    "error_code",
    "error_message",
    "retryable",
)


def one_outcome_per_row(fates: pl.DataFrame, outcomes: pl.DataFrame, ended: str) -> tuple[pl.DataFrame, int]:
    """
    One row per row of a shard: rows never sent are errors with their reason, rows sent and not answered are missing.

    Args:
        fates: record_id, code, message, copy_of, all String: the rows in order, why a row was not sent (else null),
            and the row whose answer is this one's too.
        outcomes: As `Answers.index` or `outcomes` gives them, of one or several attempts, the latest first.
        ended: How the job ended, for the message of a missing row.

    Returns:
        record_id, copy_of, `sent` Boolean, status String, then the columns of *outcomes*, `retryable` being true of
        every row that another attempt may answer; and the number of answers whose id is not the shard's.
    """
    if not outcomes["wire_id"].is_unique().all():
        outcomes = outcomes.sort("status", maintain_order=True).unique("wire_id", keep="first", maintain_order=True)
    ours = outcomes.filter(~pl.col("wire_id").str.contains(PADDING_ID))
    asked = pl.coalesce("copy_of", "record_id")
    plain = fates["record_id"].str.contains(WIRE_ID).all()
    ids = fates.with_columns(wire_id=asked if plain else wire_id(asked), sent=pl.col("code").is_null())
    rows = ids.join(ours, on="wire_id", how="left", maintain_order="left")
    n_known = rows.select((pl.col("status").is_not_null() & pl.col("copy_of").is_null()).sum()).item()
    silent = pl.col("status").is_null()
    missing = pl.lit(f"the output has no answer for this record; {ended}")
    settled = rows.with_columns(
        status=pl.when(~pl.col("sent"))
        .then(pl.lit("error"))
        .otherwise(pl.col("status").cast(pl.String).fill_null("missing")),
        error_code=pl.when(~pl.col("sent")).then("code").when(silent).then(pl.lit("missing")).otherwise("error_code"),
        error_message=pl.when(~pl.col("sent")).then("message").when(silent).then(missing).otherwise("error_message"),
    )
    settled = settled.with_columns(retryable=pl.col("sent") & pl.col("retryable").fill_null(value=True))
    settled = settled.drop("code", "message", "wire_id", "key", "elsewhere", strict=False)
    return settled, len(ours) - n_known
