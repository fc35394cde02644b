"""
The third stage: read what Bedrock wrote for a job, and give every row of the shard its fate.

Lines come in any order and are split on `\\n` only. A line that is no JSON, an odd shape or an unknown id is
counted and kept as an error row where it can be told which row it is; nothing here raises for what a model said.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl
from polars.exceptions import PolarsError
from pydantic import Field

from bedrock_assets.answer_schema import AnswerSchema
from bedrock_assets.families import Family
from bedrock_assets.ids import PADDING_ID, wire_id
from bedrock_assets.records import Document
from bedrock_assets.verdicts import FIELDS, judge, resolve

STATUSES = ("ok", "error", "missing")
_STATUS = pl.Enum(STATUSES)
"""In this order, so that sorting puts successes first."""
RETRYABLE = (
    *("408", "424", "429", "500", "502", "503", "504", "529"),
    *("ModelTimeoutException", "ModelErrorException", "ModelNotReadyException"),
    *("ThrottlingException", "InternalServerException", "ServiceUnavailableException"),
)
"""Codes of record errors that another attempt may not meet, where Bedrock does not say so itself. Source: the errors
of InvokeModel (timeout, model error, throttling, service), Amazon Bedrock API reference, 2026-11."""
RAW_CHARS = 500
"""Of an answer that could not be read, so much is kept in the error message."""


class JobManifest(Document):
    """`manifest.json.out`, as Bedrock writes it; later keys are ignored."""

    total_record_count: int | None = Field(default=None, alias="totalRecordCount")
    success_record_count: int | None = Field(default=None, alias="successRecordCount")
    error_record_count: int | None = Field(default=None, alias="errorRecordCount")
    input_token_count: int | None = Field(default=None, alias="inputTokenCount")
    output_token_count: int | None = Field(default=None, alias="outputTokenCount")


@dataclass
class Answers:
    """Collects a job's answers, a chunk at a time, in compact columns."""

    family: Family
    schema: AnswerSchema | None = None
    """What the answers are to conform to; its fields are a column of structs then."""
    frames: list[pl.DataFrame] = field(default_factory=list)
    n_lines: int = 0
    n_unreadable: int = 0
    """Lines that are no JSON object or have no record id: no row can be told."""

    @property
    def answer(self) -> str:
        """Name of the column that holds the answer."""
        return "response" if self.family.kind == "text" else "embedding"

    def add(self, chunk: bytes) -> None:
        """Read whole lines of a `.jsonl.out` file."""
        frame = _decode(chunk, self._schema())
        if frame is not None:
            self._take(frame, chunk, 0)
            return
        lines = [line for line in chunk.split(b"\n") if line.strip()]
        for first, part in _decode_around_bad_lines(lines, self._schema(), 0):
            self._take(part, chunk, first)

    def _take(self, frame: pl.DataFrame, chunk: bytes, first: int) -> None:
        self.n_lines += len(frame)
        known = frame.with_row_index("line", first).filter(pl.col("recordId").is_not_null())
        self.n_unreadable += len(frame) - len(known)
        # Bedrock ended the job before it came to these: they are unanswered, not failed.
        expired = pl.col("error").struct.field("expired").fill_null(False) & pl.col("modelOutput").is_null()
        self.frames.append(self._read(known.filter(~expired), chunk))

    def outcomes(self) -> pl.DataFrame:
        """
        One row per wire id, the first success if there is one.

        Returns:
            wire_id String, status (`ok` or `error`), the answer, with a schema `fields` Struct, stop_reason String,
            input_tokens and output_tokens Int64, error_code String, error_message String, retryable Boolean.
        """
        if not self.frames:
            self.frames.append(self._read(pl.DataFrame(schema={**self._schema(), "line": pl.UInt32}), b""))
        return pl.concat(self.frames).sort("status", maintain_order=True).unique("wire_id", keep="first")

    def _schema(self) -> dict[str, pl.DataType]:
        flags = {"expired": pl.Boolean, "retryable": pl.Boolean}
        error = pl.Struct({"errorCode": pl.String, "errorMessage": pl.String, **flags})
        return {"recordId": pl.String(), "modelOutput": self.family.output, "error": error}

    def _read(self, frame: pl.DataFrame, chunk: bytes) -> pl.DataFrame:
        error = pl.col("error").struct
        read = frame.select(
            "line",
            wire_id="recordId",
            **self.family.answer,
            error_code=error.field("errorCode"),
            error_message=error.field("errorMessage"),
            retryable=error.field("retryable"),
        )
        read = resolve(read, self.family, self.schema, chunk).with_columns(
            status=pl.when(pl.col(self.answer).is_not_null())
            .then(pl.lit("ok"))
            .otherwise(pl.lit("error"))
            .cast(_STATUS)
        )
        silent = pl.col("error_code").is_null() & pl.col("error_message").is_null() & (pl.col("status") == "error")
        if read.select(silent.any()).item():
            rows = read.filter(silent)["line"].to_list()
            lines = [line for line in chunk.split(b"\n") if line.strip()]
            raw = pl.DataFrame(
                {"line": rows, "raw": [lines[i].decode("utf-8", "replace")[:RAW_CHARS] for i in rows]},
                schema={"line": read.schema["line"], "raw": pl.String},
            )
            read = read.join(raw, on="line", how="left", maintain_order="left").with_columns(
                error_code=pl.when(silent).then(pl.lit("unrecognised_output")).otherwise("error_code"),
                error_message=pl.when(silent).then("raw").otherwise("error_message"),
            )
        read = judge(read, self.family, self.schema)
        retryable = pl.col("retryable").fill_null(pl.col("error_code").is_in(RETRYABLE).fill_null(value=False))
        read = read.with_columns(retryable=retryable & (pl.col("status") == "error"))
        return read.select(OUTCOME_COLUMNS[0], self.answer, *([FIELDS] if self.schema else []), *OUTCOME_COLUMNS[1:])


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


def settle(fates: pl.DataFrame, outcomes: pl.DataFrame, ended: str) -> tuple[pl.DataFrame, int]:
    """
    One row per row of a shard: rows never sent are errors with their reason, rows sent and not answered are missing.

    Args:
        fates: record_id, code, message, copy_of, all String: the rows in order, why a row was not sent (else null),
            and the row whose answer is this one's too.
        outcomes: As `Answers.outcomes` gives them, of one or several attempts, the latest first.
        ended: How the job ended, for the message of a missing row.

    Returns:
        record_id, copy_of, `sent` Boolean, status String, then the columns of *outcomes*, `retryable` being true of
        every row that another attempt may answer; and the number of answers whose id is not the shard's.
    """
    latest = outcomes.sort("status", maintain_order=True).unique("wire_id", keep="first", maintain_order=True)
    ours = latest.filter(~pl.col("wire_id").str.contains(PADDING_ID))
    ids = fates.with_columns(wire_id=wire_id(pl.coalesce("copy_of", "record_id")), sent=pl.col("code").is_null())
    rows = ids.join(ours, on="wire_id", how="left", maintain_order="left")
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
    return settled.drop("code", "message", "wire_id", "key", "elsewhere", strict=False), len(
        ours.join(ids, on="wire_id", how="anti")
    )


def _decode(content: bytes, schema: dict[str, pl.DataType]) -> pl.DataFrame | None:
    """One row a line, null where a value has another type than *schema*; None if a line is no JSON object."""
    try:
        frame = pl.read_ndjson(io.BytesIO(content), schema=schema, ignore_errors=True)
    except PolarsError:
        return None
    n_lines = content.count(b"\n") + (not content.endswith(b"\n"))
    return frame if len(frame) == n_lines else None


def _decode_around_bad_lines(
    lines: list[bytes], schema: dict[str, pl.DataType], first: int
) -> Iterator[tuple[int, pl.DataFrame]]:
    """
    Decode lines some of which are bad, by halving until a bad one stands alone.

    Yields:
        Position of the first line, and a frame of consecutive lines; a bad line is a row of nulls.
    """
    frame = _decode(b"\n".join(lines), schema) if lines else None
    if frame is not None or not lines:
        yield first, pl.DataFrame(schema=schema) if frame is None else frame
    elif len(lines) == 1:
        yield first, pl.DataFrame([[None]] * len(schema), schema=schema)
    else:
        half = len(lines) // 2
        yield from _decode_around_bad_lines(lines[:half], schema, first)
        yield from _decode_around_bad_lines(lines[half:], schema, first + half)
