"""Turns an answer that was read into an outcome: tool input becomes its text, refusals and violations are errors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from bedrock_assets.columns import column, fields
from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.families import Family
from bedrock_assets.outputs.candidates import whole_objects, whole_texts
from bedrock_assets.outputs.jsonlines import lines_of
from bedrock_assets.outputs.structured import IS_CUT, validate_answers
from bedrock_assets.outputs.thoughts import TRUNCATED
from bedrock_assets.outputs.unexplained import SEVERAL, UNRECOGNISED, json_of

SCHEMA_CODE, REFUSAL_CODE = "schema", "refusal"
_ANSWERED = (SCHEMA_CODE, REFUSAL_CODE, TRUNCATED, SEVERAL, UNRECOGNISED)
"""Codes of errors that we find in an output of the model."""
IS_ANSWERED = (pl.col("status").cast(pl.String) == "ok") | pl.col("error_code").is_in(_ANSWERED).fill_null(value=False)
"""Whether there is an output of the model, which is paid for."""
FIELDS = "fields"
_PARTS = (b'"content":[{', b'"content": [{')


def merge_tool_input(read: pl.DataFrame, family: Family, schema: AnswerSchema | None, chunk: bytes) -> pl.DataFrame:
    """
    Use a tool's input as the answer, and mark refusals as errors.

    Args:
        read: `line` (position of the row's line in *chunk*, without blank lines), `error_code`, `error_message`, and
            the columns that the family reads.
        chunk: The output lines.

    Returns:
        *read* without `tool` and `refusal`. `response` is the text, and after it the tool's input (of several calls
        a list of their inputs); with a schema it is the tool's input, or else the text. If a model refused without any
        text, `response` is null and `error_code` is `refusal`; a refusal with text stays an answer.
    """
    if family.tool and family.tool[0].encode() in chunk:
        read = read.with_columns(tool=_tool_inputs(read, family.tool, chunk))
    if read["tool"].null_count() < len(read):
        if schema is None:
            spoken = pl.when(pl.col("response").str.strip_chars() != "").then("response")
            answer = pl.concat_str(spoken, "tool", separator="\n", ignore_nulls=True)
            read = read.with_columns(response=pl.when(pl.col("tool").is_not_null()).then(answer).otherwise("response"))
        else:
            read = read.with_columns(response=pl.coalesce("tool", "response"))
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
    truncated = pl.col("stop_reason").is_in(family.truncated).fill_null(value=False)
    if read.select(truncated.any()).item():
        answers = _whole_alone(answers, read.select(truncated).to_series(), read["response"])
    wrong = pl.col("violation").is_not_null()
    hint = pl.when(truncated).then(pl.lit("; the answer was cut short, see max_tokens")).otherwise(pl.lit(""))
    outcomes = read.hstack(answers.rename({"value": FIELDS})).with_columns(
        status=pl.when(wrong).then(pl.lit("error", read.schema["status"])).otherwise("status"),
        error_code=pl.when(wrong).then(pl.lit(SCHEMA_CODE)).otherwise("error_code"),
        error_message=pl.when(wrong).then(pl.concat_str("violation", hint)).otherwise("error_message"),
    )
    return outcomes.drop("violation")


def _whole_alone(answers: pl.DataFrame, truncated: pl.Series, responses: pl.Series) -> pl.DataFrame:
    """Of answers that were cut, leave only those that are one whole object: another may have been about to come."""
    cut = truncated & responses.is_not_null() & answers["violation"].is_null() & whole_objects(responses).is_null()
    dtype = answers.schema["value"]
    assert isinstance(dtype, pl.Struct)  # noqa: S101 - of the schema's columns
    members = fields(pl.col("value"), dtype)
    return answers.with_columns(
        violation=pl.when(cut).then(pl.lit(IS_CUT)).otherwise("violation"),
        value=pl.struct(pl.when(~cut).then(member).alias(name) for name, member in members.items()),
    )


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


def merge_parts(read: pl.DataFrame, family: Family, chunk: bytes) -> pl.DataFrame:
    """Join the texts of answers that are lists of parts, which a String column shows as JSON."""
    if not family.text_parts:
        return read
    listed = read["response"].str.starts_with("[{").fill_null(value=False)
    if not listed.any() or not any(mark in chunk for mark in _PARTS):
        return read
    positions = read.filter(listed)["line"].to_list()
    lines = lines_of(chunk)
    texts = [_joined(_at(json_of(lines[i]), ("modelOutput", *family.text_parts))) for i in positions]
    parts = pl.DataFrame({"line": positions, "parts": texts}, {"line": read.schema["line"], "parts": pl.String})
    joined = read.join(parts, on="line", how="left", maintain_order="left")
    return joined.with_columns(response=pl.coalesce("parts", "response")).drop("parts")


def refuse_several(read: pl.DataFrame) -> pl.DataFrame:
    """Make rows with several answers to choose from errors; *read* loses `n_answers`."""
    several = read["n_answers"].fill_null(1) > 1
    if several.any():
        message = pl.format("the output has {} answers for one record; ask for one", "n_answers")
        read = read.with_columns(
            response=pl.when(~several).then("response"),
            error_code=pl.when(several).then(pl.lit(SEVERAL)).otherwise("error_code"),
            error_message=pl.when(several).then(message).otherwise("error_message"),
        )
    return read.drop("n_answers")


def _tool_inputs(read: pl.DataFrame, tool: tuple[str, str], chunk: bytes) -> pl.Series:
    """
    The JSON of the tools' inputs; it may have any shape, so it is taken from the lines themselves.

    Args:
        tool: As in `Family`.
    """
    mark, path = tool
    lines = pl.Series(lines_of(chunk)).gather(read["line"])
    texts = whole_texts(lines.cast(pl.String, strict=False)).to_frame("line")
    inputs = texts.select(pl.col("line").str.json_path_match(path)).to_series()
    # Claude's stop reason is the mark as well.
    stopped = (pl.format('"{}"', "stop_reason") == mark).fill_null(value=False).cast(pl.UInt32)
    n_marks = texts["line"].str.count_matches(mark, literal=True).fill_null(0)
    called_again = n_marks > read.select(1 + stopped).to_series()
    if not called_again.any():
        return inputs
    found = [_inputs(line, path) for line in lines.filter(called_again)]
    positions = called_again.arg_true()
    return inputs.scatter(positions, [all_inputs or inputs[i] for i, all_inputs in zip(positions, found, strict=True)])


def _inputs(line: bytes, path: str) -> str | None:
    """The inputs of several calls, as a JSON list; None if there are not several."""
    values: list[Any] = [json_of(line)]
    for name in path.removeprefix("$.").split("."):
        members = [
            value[key] for value in values if isinstance(value, Mapping) and (key := name.removesuffix("[*]")) in value
        ]
        values = [item for member in members if isinstance(member, list) for item in member] if "[" in name else members
    return json.dumps(values, ensure_ascii=False) if len(values) > 1 else None


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _joined(content: Any) -> str | None:
    """The texts of a list of parts, in order; None if *content* is no such list, or has no text."""
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    return "".join(texts) if texts else None
