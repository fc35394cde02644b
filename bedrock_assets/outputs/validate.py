"""
Structured answers become typed columns: all rows at once, without a loop over those that conform.

The JSON of an answer may stand among words or in a code fence. Every value is read as text, strings marked with a `~`
so that "5" and 5 stay apart, and then cast to its column. Unknown fields are ignored. Rows that do not conform, and all
rows where the schema is a class with validators of its own, are given to pydantic.
"""

import io
from collections.abc import Sequence
from functools import reduce
from operator import and_

import polars as pl

from bedrock_assets.config.answer_node import Node
from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.outputs.explain import class_validator, column_validator, first_violation, runs_code

MARK = "~"
NO_JSON = "the answer holds no JSON object"
MISFIT = "a value does not fit its column"
_FENCED = r"(?s)```[A-Za-z]*\s*(\{.*?\})\s*```"
_BRACED = r"(?s)\{.*\}"
_STRING = r'"((?:[^"\\]|\\.)*)"'
_MARKED_KEY = rf'"{MARK}((?:[^"\\]|\\.)*)":'
Checked = tuple[pl.Series, pl.Series]
"""Values of a node's type, null where wrong; and whether each value conforms, Boolean."""


def validate_answers(texts: pl.Series, schema: AnswerSchema) -> pl.DataFrame:
    """
    Read and check structured answers.

    Args:
        texts: String, an answer a row, null where there is none.

    Returns:
        `violation` String, null where an answer conforms or there is none; `value` Struct of the schema's columns, its
        fields null where there is a violation.
    """
    answers = _json(texts)
    value, conforms = _check_columns(answers, schema)
    frame = pl.DataFrame({"text": texts, "json": answers, "conforms": conforms, "value": value})
    violation = _violations(frame, schema).alias("violation")
    kept = [
        pl.when(violation.is_null()).then(pl.col("value").struct.field(name)).cast(dtype).alias(name)
        for name, dtype in schema.dtypes.items()
    ]
    return frame.select(violation, value=pl.struct(kept))


def _violations(frame: pl.DataFrame, schema: AnswerSchema) -> pl.Series:
    """What is wrong with each row, String: columns `text`, `json` and `conforms`."""
    answer_class = schema.answer_class
    own = [class_validator(answer_class)] if answer_class else []
    checks_all = bool(answer_class and runs_code(answer_class.__pydantic_core_schema__))
    violations = frame.select(
        pl.when(pl.col("text").is_not_null() & pl.col("json").is_null()).then(pl.lit(NO_JSON))
    ).to_series()
    rows = frame.with_row_index().filter(pl.col("json").is_not_null() & (~pl.col("conforms") | checks_all))
    if rows.is_empty():
        return violations
    every = [*own, column_validator(schema)]
    messages = [
        first_violation(answer, own) if conforms else first_violation(answer, every) or MISFIT
        for answer, conforms in rows.select("json", "conforms").iter_rows()
    ]
    return violations.scatter(rows["index"], pl.Series(messages, dtype=pl.String))


def _json(texts: pl.Series) -> pl.Series:
    """The JSON object in each text, on one line and without spaces; else null."""
    candidate = pl.coalesce(pl.col("text").str.extract(_FENCED), pl.col("text").str.extract(_BRACED, 0))
    answers = texts.alias("text").to_frame().select(json=candidate.str.json_path_match("$"))
    return answers.select(pl.when(pl.col("json").str.starts_with("{")).then("json")).to_series()


def _check_columns(answers: pl.Series, schema: AnswerSchema) -> Checked:
    """The values of JSON objects, and whether each object conforms to *schema*."""
    root = schema.root
    marked = answers.str.replace_all(_STRING, f'"{MARK}$1"').str.replace_all(_MARKED_KEY, '"$1":')
    # One reading for each level of lists and objects: what stands below it is text, whatever it is.
    return _check(root, marked, [_read(marked, root, depth) for depth in range(1, root.depth + 1)])


def _as_text(node: Node, depth: int) -> pl.DataType:
    """The type to read *node* with, everything below *depth* levels as text."""
    if depth and node.kind == "object":
        return pl.Struct({name: _as_text(inner, depth - 1) for name, inner in node.fields.items()})
    if depth and node.item:
        return pl.List(_as_text(node.item, depth - 1))
    return pl.String()


def _read(answers: pl.Series, root: Node, depth: int) -> pl.Series:
    """Struct of the root's fields, a row for each object."""
    schema = {name: _as_text(node, depth - 1) for name, node in root.fields.items()}
    if answers.is_empty():
        return pl.Series(dtype=pl.Struct(schema))
    lines = answers.fill_null("{}").str.join("\n").item().encode()
    return pl.read_ndjson(io.BytesIO(lines), schema=schema, ignore_errors=True).to_struct()


def _check(node: Node, text: pl.Series, levels: Sequence[pl.Series]) -> Checked:
    """
    Args:
        text: The value as text, null where it is missing or null.
        levels: The value read with one, two, ... of its levels as what they are.
    """
    if node.kind == "object":
        value, inside = _check_object(node, levels)
    elif node.item:
        value, inside = _check_list(node, node.item, levels)
    else:
        value, inside = _scalar(node, text), pl.lit(value=True)
    frame = pl.DataFrame({"text": text, "value": value}).with_columns(inside=inside)
    absent = pl.col("text").is_null() & node.optional
    within = pl.when(pl.col("value").is_null()).then(absent).otherwise(pl.col("inside") & _limits(node))
    return value, frame.select(within).to_series()


def _check_object(node: Node, levels: Sequence[pl.Series]) -> Checked:
    members = [
        _check(inner, levels[0].struct.field(name), [level.struct.field(name) for level in levels[1:]])
        for name, inner in node.fields.items()
    ]
    values = pl.DataFrame([value.alias(name) for name, (value, _) in zip(node.fields, members, strict=True)])
    value = pl.select(pl.when(levels[0].is_not_null()).then(pl.lit(values.to_struct()))).to_series()
    return value, reduce(and_, [conforms for _, conforms in members])


def _check_list(node: Node, item: Node, levels: Sequence[pl.Series]) -> Checked:
    names = list(map(str, range(len(levels))))
    lists = pl.DataFrame([level.alias(name) for name, level in zip(names, levels, strict=True)]).with_row_index("row")
    items = lists.filter(pl.col("0").list.len() > 0).explode(names)
    value, conforms = _check(item, items["0"], [items[name] for name in names[1:]])
    checked = pl.DataFrame({"row": items["row"], "value": value, "conforms": conforms})
    together = checked.group_by("row", maintain_order=True).agg("value", pl.col("conforms").all())
    joined = lists.join(together, on="row", how="left", maintain_order="left")
    empty = pl.lit(pl.Series([[]], dtype=node.dtype)).first()
    value = pl.when(pl.col("0").is_not_null()).then(pl.col("value").fill_null(empty))
    frame = joined.select(value, pl.col("conforms").fill_null(value=True))
    return frame["value"], frame["conforms"]


def _scalar(node: Node, text: pl.Series) -> pl.Series:
    if node.kind == "string":
        marked = pl.col("text").str.starts_with(MARK)
        return text.alias("text").to_frame().select(pl.when(marked).then(pl.col("text").str.slice(1))).to_series()
    if node.kind == "boolean":
        return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    return text.cast(node.dtype, strict=False)


def _limits(node: Node) -> pl.Expr:
    """Whether a value that is of its type is also within its limits."""
    value = pl.col("value")
    size = value.list.len() if node.item else value.str.len_chars()
    limits = [pl.lit(value=True)]
    if node.enum:
        limits.append(value.is_in(list(node.enum)))
    if node.minimum is not None:
        limits.append(value >= node.minimum)
    if node.maximum is not None:
        limits.append(value <= node.maximum)
    if node.min_size is not None:
        limits.append(size >= node.min_size)
    if node.max_size is not None:
        limits.append(size <= node.max_size)
    return reduce(and_, limits)
