"""Turns an answer that was read into an outcome: tool input becomes its text, refusals and violations are errors."""

from collections.abc import Iterable

import polars as pl

from bedrock_assets.columns import column, fields
from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.families import Family
from bedrock_assets.outputs.structured import validate_answers

SCHEMA_CODE, REFUSAL_CODE = "schema", "refusal"
FIELDS = "fields"


def merge_tool_input(read: pl.DataFrame, family: Family, schema: AnswerSchema | None, chunk: bytes) -> pl.DataFrame:
    """
    Use a tool's input as the answer, and mark refusals as errors.

    Args:
        read: `line` (position of the row's line in *chunk*, without blank lines), `error_code`, `error_message`, and
            the columns that the family reads.
        chunk: The output lines.

    Returns:
        *read* without `tool` and `refusal`. `response` is the text, or else the tool's input; with a schema it is the
        tool's input, or else the text. If a model refused without any text, `response` is null and `error_code` is
        `refusal`; a refusal with text stays an answer.
    """
    if "tool" not in read.columns:
        return read
    if family.tool and family.tool[0].encode() in chunk:
        read = read.with_columns(tool=_tool_inputs(read, family.tool[1], chunk))
    if read["tool"].null_count() < len(read):
        order = ("response", "tool") if schema is None else ("tool", "response")
        read = read.with_columns(response=pl.coalesce(order))
    if read["refusal"].null_count() < len(read):
        silent = pl.col("response").fill_null("").str.strip_chars() == ""
        refused = pl.col("refusal").is_not_null() & silent & pl.col("error_code").is_null()
        read = read.with_columns(
            response=pl.when(~refused).then("response"),
            error_code=pl.when(refused).then(pl.lit(REFUSAL_CODE)).otherwise("error_code"),
            error_message=pl.when(refused).then("refusal").otherwise("error_message"),
        )
    return read.drop("tool", "refusal")


def apply_schema(read: pl.DataFrame, family: Family, schema: AnswerSchema | None) -> pl.DataFrame:
    """
    Read the fields of each answer, and turn answers that do not conform into errors that keep their text.

    Returns:
        *read*, and with a schema `fields`: a Struct of the schema's columns, whose names cannot clash with ours there.
    """
    if schema is None:
        return read
    answers = validate_answers(read["response"], schema)
    wrong = pl.col("violation").is_not_null()
    truncated = pl.col("stop_reason").is_in(family.truncated).fill_null(value=False)
    hint = pl.when(truncated).then(pl.lit("; the answer was cut short, see max_tokens")).otherwise(pl.lit(""))
    outcomes = read.hstack(answers.rename({"value": FIELDS})).with_columns(
        status=pl.when(wrong).then(pl.lit("error", read.schema["status"])).otherwise("status"),
        error_code=pl.when(wrong).then(pl.lit(SCHEMA_CODE)).otherwise("error_code"),
        error_message=pl.when(wrong).then(pl.concat_str("violation", hint)).otherwise("error_message"),
    )
    return outcomes.drop("violation")


def answer_columns(names: Iterable[str], schema: AnswerSchema | None) -> list[pl.Expr]:
    """Expressions for the columns of an answer, in the order of *names*; the schema's fields come from `fields`."""
    members = fields(pl.col(FIELDS), pl.Struct(schema.dtypes)) if schema else {}
    return [members.get(name, column(name)) for name in names]


def repairable(outcomes: pl.DataFrame, repair: int) -> pl.DataFrame:
    """Mark answers that broke the schema as `retryable`, up to *repair* times a row; *outcomes* are of all attempts."""
    broken = pl.col("error_code").eq_missing(SCHEMA_CODE)
    exhausted = broken.sum().over("wire_id") > repair
    return outcomes.with_columns(retryable=pl.when(broken).then(~exhausted).otherwise("retryable"))


def n_truncated(stop_reasons: pl.Series, family: Family) -> int:
    """Number of answers that were cut short by a limit on tokens, by the stop reasons of their family."""
    return int(stop_reasons.is_in(list(family.truncated)).sum()) if family.truncated else 0


def _tool_inputs(read: pl.DataFrame, path: str, chunk: bytes) -> pl.Series:
    """The JSON of the tools' inputs; it may have any shape, so it is taken from the lines themselves."""
    lines = pl.Series([line for line in chunk.split(b"\n") if line.strip()]).gather(read["line"])
    texts = lines.to_frame("line").select(pl.col("line").cast(pl.String, strict=False))
    return texts.select(pl.col("line").str.json_path_match(path)).to_series()
