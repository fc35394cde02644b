"""
Read what Bedrock wrote for a job, and give every row of the shard one outcome.

Lines come in any order and are split on `\\n` only. A line that is not as expected becomes an error row if its record
id can be read, and is counted otherwise. Nothing here raises for what a model said.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.families import Family
from bedrock_assets.outputs.buffers import SeriesBuffer, VectorBuffer
from bedrock_assets.outputs.jsonlines import Decoded, decode_line_by_line, decode_with_text, lines_of
from bedrock_assets.outputs.outcomes import (
    FIELDS,
    IS_ANSWERED,
    apply_schema,
    merge_parts,
    merge_tool_input,
    refuse_several,
)
from bedrock_assets.outputs.thoughts import without_thoughts
from bedrock_assets.outputs.unexplained import explain
from bedrock_assets.pipeline.ids import PADDING_ID, WIRE_ID, wire_id
from bedrock_assets.threads import map_ordered

STATUSES = ("ok", "error", "missing")
ANSWERS = {"text": "response", "embedding": "embedding"}
"""Name of the answer's column, by kind of family."""
_STATUS = pl.Enum(STATUSES)
"""In this order, so that sorting puts successes first."""
RETRYABLE = (
    *("408", "424", "429", "500", "502", "503", "504", "529"),
    *("ModelTimeoutException", "ModelErrorException", "ModelNotReadyException"),
    *("ThrottlingException", "InternalServerException", "ServiceUnavailableException"),
    *("overloaded_error", "rate_limit_error", "timeout_error", "api_error", "rate_limit_exceeded", "server_error"),
)
"""Codes of record errors that may go away in another attempt, if Bedrock itself does not say. Source: the errors of
InvokeModel (timeout, model error, throttling, service), Amazon Bedrock API reference, 2026-11; the errors of the APIs
of Anthropic and OpenAI."""
AT = "__at"
"""Column: position of the answer among all answers that were read, Int64."""


@dataclass
class Answers:
    """
    Collects a job's answers, one chunk at a time, in compact columns.

    Answers can be large, as vectors are. They are kept apart from the columns that are sorted and joined, and are put
    into order only once.
    """

    family: Family
    schema: AnswerSchema | None = None
    """The schema that answers must conform to; its fields become a column of structs."""
    values: SeriesBuffer | VectorBuffer = field(default_factory=SeriesBuffer)
    """The answers themselves; several attempts may share one buffer."""
    frames: list[pl.DataFrame] = field(default_factory=list)
    n_lines: int = 0
    n_unreadable: int = 0
    """Lines that are not a JSON object or have no record id, so that their row is unknown."""

    @property
    def n_answered(self) -> int:
        """Lines with an output of the model, understood or not."""
        return sum(int(frame.select(IS_ANSWERED.sum()).item()) for frame in self.frames)

    @property
    def answer(self) -> str:
        """Name of the answer's column."""
        return ANSWERS[self.family.kind]

    def add(self, chunk: bytes) -> None:
        """Read whole lines of a `.jsonl.out` file."""
        self.add_all([chunk])

    def add_all(self, chunks: Iterable[bytes]) -> None:
        """Read chunks of whole lines, several at once."""
        for frame, answers, n_lines, n_unreadable in map_ordered(self._read_chunk, chunks):
            self.frames.append(frame.with_columns(pl.col(AT) + self.values.n))
            self.values.add(answers)
            self.n_lines += n_lines
            self.n_unreadable += n_unreadable

    def index(self) -> pl.DataFrame:
        """
        One row for each wire id: the first success, or else the first error.

        Returns:
            wire_id String, status Enum, `AT` (position in `values`, null without an answer), `fields` Struct (with a
            schema), stop_reason String, input_tokens, output_tokens, cache_read_tokens and cache_write_tokens Int64,
            error_code and error_message String, retryable Boolean.
        """
        if not self.frames:
            self.add_all([b""])
        return _one_per_id(pl.concat(self.frames))

    def outcomes(self) -> pl.DataFrame:
        """As `index`, with the answer itself instead of its position, and without the tokens of caches."""
        index = self.index().drop(CACHED)
        answers = self.values.gather(index[AT]).alias(self.answer)
        return index.with_columns(answers).select(self.answer if name == AT else name for name in index.columns)

    def _read_chunk(self, chunk: bytes) -> tuple[pl.DataFrame, pl.Series, int, int]:
        """
        The columns of `index`, where `AT` counts from the chunk's first answer; the answers without nulls; the number
        of lines; and the number of lines without a record id.
        """
        schema = self._schema()
        decoded = decode_with_text(chunk, schema, skip_input=self.family.kind == "text") if chunk else None
        if decoded is None:
            decoded = Decoded(decode_line_by_line(lines_of(chunk), schema))
        rows = self._read(decoded, chunk)
        answered = column(self.answer).is_not_null()
        position = pl.when(answered).then(answered.cum_sum().cast(pl.Int64) - 1).alias(AT)
        return (
            rows.with_columns(position).select(AT if name == self.answer else name for name in rows.columns),
            rows[self.answer].drop_nulls(),
            len(decoded.frame),
            decoded.frame["recordId"].null_count(),
        )

    def _schema(self) -> dict[str, pl.DataType]:
        flags = {"expired": pl.Boolean, "retryable": pl.Boolean}
        error = pl.Struct({"errorCode": pl.String, "errorMessage": pl.String, **flags})
        return {"recordId": pl.String(), "modelOutput": self.family.output, "error": error}

    def _read(self, decoded: Decoded, chunk: bytes) -> pl.DataFrame:
        """Read the lines of *chunk*; those without a record id or an outcome are left out."""
        # Bedrock ended the job before it reached the expired records: they are unanswered, not failed.
        expired = pl.col("error").struct.field("expired").fill_null(False) & pl.col("modelOutput").is_null()
        error = pl.col("error").struct
        frame = decoded.frame.with_row_index("line").filter(pl.col("recordId").is_not_null() & ~expired)
        read = frame.select(
            "line",
            wire_id="recordId",
            **{**self.family.answer, self.answer: self.values.cast(self.family.answer[self.answer])},
            error_code=error.field("errorCode"),
            error_message=error.field("errorMessage"),
            retryable=error.field("retryable"),
        )
        if self.family.kind == "text":
            read = merge_parts(read, self.family, chunk)
            called = self.family.tool is not None and decoded.may_hold(self.family.tool[0], chunk)
            read = merge_tool_input(read, self.family, self.schema, chunk if called else b"")
            read = refuse_several(read)
            read = without_thoughts(read, self.family)
        read = self._with_status(read, chunk)
        read = apply_schema(read, self.family, self.schema)
        retryable = pl.col("retryable").fill_null(pl.col("error_code").is_in(RETRYABLE).fill_null(value=False))
        read = read.with_columns(retryable=retryable & (pl.col("status") == "error"))
        answer = [self.answer, *([FIELDS] if self.schema else [])]
        return read.select(*OUTCOME_COLUMNS[:2], *answer, *OUTCOME_COLUMNS[2:])

    def _with_status(self, read: pl.DataFrame, chunk: bytes) -> pl.DataFrame:
        """Add `status`; a row with an error has no answer, and one with neither gets its error from its line."""
        plain = pl.col("error_code").is_null() & pl.col("error_message").is_null()
        if not read.select(plain.all()).item():
            read = read.with_columns(pl.when(plain).then(column(self.answer)).alias(self.answer))
        unexplained = plain & column(self.answer).is_null()
        if read.select(unexplained.any()).item():
            read = explain(read, unexplained, lines_of(chunk), self.family)
        status = pl.when(column(self.answer).is_not_null()).then(pl.lit("ok")).otherwise(pl.lit("error"))
        return read.with_columns(status=status.cast(_STATUS))


def _one_per_id(outcomes: pl.DataFrame) -> pl.DataFrame:
    """The first success of each wire id, or else its first error."""
    if outcomes["wire_id"].is_unique().all():
        return outcomes
    return outcomes.sort("status", maintain_order=True).unique("wire_id", keep="first", maintain_order=True)


CACHED = ("cache_read_tokens", "cache_write_tokens")
"""Columns: input tokens that were read from a cache, and written to one."""
OUTCOME_COLUMNS = (
    "wire_id",
    "status",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    *CACHED,
    "error_code",
    "error_message",
    "retryable",
)


def one_outcome_per_row(rows: pl.DataFrame, outcomes: pl.DataFrame, ended: str) -> tuple[pl.DataFrame, int]:
    """
    Join the rows of a shard with their outcomes: a row that was never sent is an error, one without an answer missing.

    Args:
        rows: record_id, code and message (why a row was not sent, else null), copy_of (the row that shares its answer),
            all String, in order.
        outcomes: As `Answers.index` or `outcomes` returns them, of one or more attempts, the latest first.
        ended: How the job ended, for the message of missing rows.

    Returns:
        record_id, copy_of, `sent` Boolean, status String, and the other columns of *outcomes*; `retryable` is true if
        another attempt may answer the row. And the number of answers with an id that is not the shard's.
    """
    own = _one_per_id(outcomes).filter(~pl.col("wire_id").str.contains(PADDING_ID))
    sender = pl.coalesce("copy_of", "record_id")
    plain = rows["record_id"].str.contains(WIRE_ID).all()
    ids = rows.with_columns(wire_id=sender if plain else wire_id(sender), sent=pl.col("code").is_null())
    joined = ids.join(own, on="wire_id", how="left", maintain_order="left")
    n_known = joined.select((pl.col("status").is_not_null() & pl.col("copy_of").is_null()).sum()).item()
    not_sent, missing = pl.when(~pl.col("sent")), pl.col("status").is_null()
    message = pl.lit(f"the output has no answer for this record; {ended}")
    settled = joined.with_columns(
        status=not_sent.then(pl.lit("error")).otherwise(pl.col("status").cast(pl.String).fill_null("missing")),
        error_code=not_sent.then("code").when(missing).then(pl.lit("missing")).otherwise("error_code"),
        # A row that was sent has a message of its own if its text was cut.
        error_message=not_sent.then("message")
        .when(missing)
        .then(message)
        .otherwise(pl.coalesce("error_message", "message")),
        retryable=pl.col("sent") & pl.col("retryable").fill_null(value=True),
    )
    return settled.drop("code", "message", "wire_id", "key", "elsewhere", strict=False), len(own) - n_known
