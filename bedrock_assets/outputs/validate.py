"""
Structured answers become typed columns, and what does not conform says why: columnar, never a loop over rows.

The JSON of an answer is found in its text (code fences and words around it do not matter) and read with every value as
text, strings marked with a `~` so that "5" and 5 stay apart. A value that is wrong is told by its field; unknown fields
are passed over.
"""

import io
from collections.abc import Sequence

import polars as pl

from bedrock_assets.config.answer_node import Node
from bedrock_assets.config.answer_schema import AnswerSchema

MARK = "~"
SHOWN_CHARS = 80
"""Of a value that does not conform, so much is shown."""
_FENCED = r"(?s)```[A-Za-z]*\s*(\{.*?\})\s*```"
_BRACED = r"(?s)\{.*\}"
_STRING = r'"((?:[^"\\]|\\.)*)"'
_MARKED_KEY = rf'"{MARK}((?:[^"\\]|\\.)*)":'
_NAMED = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
}
Violation = tuple[pl.Expr, list[pl.Expr | str]]
"""What may be wrong with a value, and the parts of what to say then."""
Checked = tuple[pl.Series, pl.Series]
"""Values of a node's type, null where wrong; and what is wrong, String, null where nothing is."""


def validate_answers(texts: pl.Series, schema: AnswerSchema) -> pl.DataFrame:
    """
    Read and check structured answers.

    Args:
        texts: String, an answer a row, null where there is none.

    Returns:
        `violation` String, null where an answer conforms or there is none; `value` Struct of the schema's columns, its
        fields null where there is a violation.
    """
    root = schema.root
    found = _json(texts)
    # one reading for each level of lists and objects: what stands there is text, whatever it is
    levels = [_read(found, root, depth) for depth in range(1, root.depth + 1)]
    value, wrong = _check_object(root, found, levels, "")
    frame = pl.DataFrame({"text": texts, "json": found, "wrong": wrong, "value": value})
    none = pl.col("text").is_not_null() & pl.col("json").is_null()
    violation = pl.when(none).then(pl.lit("the answer holds no JSON object"))
    violation = violation.when(pl.col("text").is_not_null()).then("wrong")
    kept = [
        pl.when(violation.is_null()).then(pl.col("value").struct.field(name)).cast(dtype).alias(name)
        for name, dtype in schema.dtypes.items()
    ]
    return frame.select(violation=violation, value=pl.struct(kept))


def _json(texts: pl.Series) -> pl.Series:
    """The JSON object in each text, on one line and without spaces, its string values marked; else null."""
    candidate = pl.coalesce(pl.col("text").str.extract(_FENCED), pl.col("text").str.extract(_BRACED, 0))
    frame = texts.alias("text").to_frame().select(json=candidate.str.json_path_match("$"))
    marked = pl.col("json").str.replace_all(_STRING, f'"{MARK}$1"').str.replace_all(_MARKED_KEY, '"$1":')
    return frame.select(pl.when(pl.col("json").str.starts_with("{")).then(marked)).to_series()


def _as_text(node: Node, depth: int) -> pl.DataType:
    """The type to read *node* with, everything below so many levels as text."""
    if depth and node.kind == "object":
        return pl.Struct({name: _as_text(inner, depth - 1) for name, inner in node.fields.items()})
    if depth and node.item:
        return pl.List(_as_text(node.item, depth - 1))
    return pl.String()


def _read(found: pl.Series, root: Node, depth: int) -> pl.Series:
    """Struct of the root's fields, a row for each object."""
    schema = {name: _as_text(node, depth - 1) for name, node in root.fields.items()}
    if found.is_empty():
        return pl.Series(dtype=pl.Struct(schema))
    lines = found.fill_null("{}").str.join("\n").item().encode()
    return pl.read_ndjson(io.BytesIO(lines), schema=schema, ignore_errors=True).to_struct()


def _check(node: Node, text: pl.Series, levels: Sequence[pl.Series], path: str) -> Checked:
    """
    Args:
        text: The value as text, null where it is missing or null.
        levels: The value read with one, two, ... of its levels as what they are.
        path: Of the value, for messages.
    """
    if node.kind == "object":
        return _check_object(node, text, levels, path)
    if node.item:
        return _check_list(node, node.item, text, levels, path)
    value = _value(node, text)
    return value, _first(pl.DataFrame({"text": text, "value": value}), [*_presence(node, path), *_limits(node, path)])


def _check_object(node: Node, text: pl.Series, levels: Sequence[pl.Series], path: str) -> Checked:
    below = f"{path}." if path else ""
    members = {
        name: _check(
            inner, levels[0].struct.field(name), [level.struct.field(name) for level in levels[1:]], below + name
        )
        for name, inner in node.fields.items()
    }
    whole = pl.DataFrame({"text": text, "value": levels[0]})
    values = pl.DataFrame([value.alias(name) for name, (value, _) in members.items()]).to_struct("value")
    value = whole.select(pl.when(pl.col("value").is_not_null()).then(pl.lit(values))).to_series()
    wrong = pl.DataFrame([wrong.alias(name) for name, (_, wrong) in members.items()])
    inside = pl.when(levels[0].is_not_null()).then(wrong.select(pl.coalesce(pl.all())).to_series())
    own = _first(whole, _presence(node, path)) if path else pl.Series([None] * len(text), dtype=pl.String)
    return value, whole.select(pl.coalesce(own, inside)).to_series()


def _check_list(node: Node, item: Node, text: pl.Series, levels: Sequence[pl.Series], path: str) -> Checked:
    lists = pl.DataFrame([level.alias(str(depth)) for depth, level in enumerate(levels)]).with_row_index("row")
    items = lists.filter(pl.col("0").list.len() > 0).explode(list(map(str, range(len(levels)))))
    values, wrong = _check(item, items["0"], [items[str(depth)] for depth in range(1, len(levels))], f"{path}[]")
    checked = pl.DataFrame({"row": items["row"], "value": values, "wrong": wrong})
    together = checked.group_by("row", maintain_order=True).agg("value", pl.col("wrong").drop_nulls().first())
    joined = lists.select("row", is_list=pl.col("0").is_not_null(), text=text).join(
        together, on="row", how="left", maintain_order="left"
    )
    empty = pl.lit(pl.Series([[]], dtype=node.dtype)).first()
    value = pl.when("is_list").then(pl.col("value").fill_null(empty))
    frame = joined.with_columns(value=value)
    own = _first(frame, [*_presence(node, path), *_limits(node, path)])
    return frame["value"], frame.select(pl.coalesce(own, "wrong")).to_series()


def _value(node: Node, text: pl.Series) -> pl.Series:
    if node.kind == "string":
        marked = pl.col("text").str.starts_with(MARK)
        return text.alias("text").to_frame().select(pl.when(marked).then(pl.col("text").str.slice(1))).to_series()
    if node.kind == "boolean":
        return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    return text.cast(node.dtype, strict=False)


def _presence(node: Node, path: str) -> list[Violation]:
    text = pl.col("text")
    shown = text.str.head(SHOWN_CHARS).str.replace(rf"(?s)^{MARK}(.*)$", '"$1"')
    other = (text.is_not_null() & pl.col("value").is_null(), [f"{path} is not {_NAMED[node.kind]}: ", shown])
    return [other] if node.optional else [(text.is_null(), [f"{path} is missing or null"]), other]


def _limits(node: Node, path: str) -> list[Violation]:
    value = pl.col("value")
    shown = value.cast(pl.String).str.head(SHOWN_CHARS) if not node.item else pl.lit("")
    size, unit = (value.list.len(), "items") if node.item else (value.str.len_chars(), "characters")
    found: list[Violation] = []
    if node.enum:
        known = ", ".join(map(str, node.enum))
        found.append((~value.is_in(list(node.enum)), [f"{path} is ", shown, f", which is not one of: {known}"]))
    if node.minimum is not None:
        found.append((value < node.minimum, [f"{path} is ", shown, f", below {node.minimum:g}"]))
    if node.maximum is not None:
        found.append((value > node.maximum, [f"{path} is ", shown, f", above {node.maximum:g}"]))
    if node.min_size is not None:
        found.append((size < node.min_size, [f"{path} has ", size.cast(pl.String), f" {unit}, below {node.min_size}"]))
    if node.max_size is not None:
        found.append((size > node.max_size, [f"{path} has ", size.cast(pl.String), f" {unit}, above {node.max_size}"]))
    return found


def _first(frame: pl.DataFrame, findings: Sequence[Violation]) -> pl.Series:
    """What is wrong with each row of *frame*, the first finding that holds; String, null where none does."""
    holds = frame.select(condition.alias(str(i)) for i, (condition, _) in enumerate(findings))
    told = pl.lit(None, pl.String)
    for position in reversed(range(len(findings))):
        if holds[str(position)].any():
            parts = [pl.lit(part) if isinstance(part, str) else part for part in findings[position][1]]
            told = pl.when(pl.lit(holds[str(position)])).then(pl.concat_str(parts)).otherwise(told)
    return frame.select(wrong=told, rows=pl.int_range(pl.len()))["wrong"]
