"""What becomes of an answer that was read: a tool's input is taken for it, a refusal and a broken form are errors."""

from collections.abc import Iterable

import polars as pl

from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.families import Family
from bedrock_assets.outputs.validate import validate_answers

SCHEMA_CODE, REFUSAL_CODE = "schema", "refusal"
FIELDS = "fields"


def merge_tool_input(read: pl.DataFrame, family: Family, schema: AnswerSchema | None, chunk: bytes) -> pl.DataFrame:
    """
    Put the input of tools in place of the text, and tell refusals.

    Args:
        read: `line` (position of the row's line in *chunk*, blank ones not counted), `error_code`, `error_message`, and
            the columns that the family reads.
        chunk: The output lines.

    Returns:
        *read* without `tool` and `refusal`: `response` is the text, or else the tool's input; with a schema it is the
        tool's input, or else the text. Where a model refused and said nothing, `response` is null and `error_code` is
        `refusal`; what it said keeps its row an answer.
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
    Give each answer its fields, and turn those that do not conform to the schema into errors that keep their text.

    Returns:
        *read* and, with a schema, `fields`: Struct of the schema's columns, kept together so that no name of theirs
        meets one of ours on the way.
    """
    if schema is None:
        return read
    found = validate_answers(read["response"], schema)
    wrong = pl.col("violation").is_not_null()
    cut = pl.col("stop_reason").is_in(family.truncated).fill_null(value=False)
    why = pl.when(cut).then(pl.lit("; the answer was cut short, see max_tokens")).otherwise(pl.lit(""))
    judged = read.hstack(found.rename({"value": FIELDS})).with_columns(
        status=pl.when(wrong).then(pl.lit("error", read.schema["status"])).otherwise("status"),
        error_code=pl.when(wrong).then(pl.lit(SCHEMA_CODE)).otherwise("error_code"),
        error_message=pl.when(wrong).then(pl.concat_str("violation", why)).otherwise("error_message"),
    )
    return judged.drop("violation")


def answer_columns(names: Iterable[str], schema: AnswerSchema | None) -> list[pl.Expr]:
    """The columns of an answer by their own names, the schema's fields among them."""
    fields = schema.fields if schema else ()
    return [pl.col(FIELDS).struct.field(name) if name in fields else pl.col(name) for name in names]


def repairable(outcomes: pl.DataFrame, repair: int) -> pl.DataFrame:
    """
    *outcomes* of all attempts, in which answers that broke the schema no more than *repair* times are `retryable`.
    """
    broken = pl.col("error_code").eq_missing(SCHEMA_CODE)
    often = broken.sum().over("wire_id") > repair
    return outcomes.with_columns(retryable=pl.when(broken).then(~often).otherwise("retryable"))


def n_truncated(stop_reasons: pl.Series, family: Family) -> int:
    """Answers that a limit on tokens cut short, in the words of their family."""
    return int(stop_reasons.is_in(list(family.truncated)).sum()) if family.truncated else 0


def _tool_inputs(read: pl.DataFrame, path: str, chunk: bytes) -> pl.Series:
    """The inputs of the tools that were called, as JSON: of any shape, so they are taken from the lines themselves."""
    lines = pl.Series([line for line in chunk.split(b"\n") if line.strip()]).gather(read["line"])
    texts = lines.to_frame("line").select(pl.col("line").cast(pl.String, strict=False))
    return texts.select(pl.col("line").str.json_path_match(path)).to_series()
