"""
Structured answers become typed columns.

The JSON of an answer may stand among words or in a code fence. Of several objects that conform and differ none is the
answer: one of them may be from the text that is judged, and not the model's own. Pydantic checks one answer after the
other, which takes some microseconds each; polars then decodes all that conform at once.

Null is as good as absent, 3.0 is an integer, and unknown fields are ignored. Everything else is strict, so that "3" is
not an integer. A user's class checks answers as well, if it has validators written in Python.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from math import ceil, floor
from typing import Any

import polars as pl
from pydantic import ValidationError
from pydantic_core import ErrorDetails, SchemaValidator
from pydantic_core import core_schema as core

from bedrock_assets.columns import fields
from bedrock_assets.config.answer_node import Node
from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.outputs.candidates import CUT, all_objects, whole_objects

VALUE_CHARS, MESSAGE_CHARS = 80, 500
"""Longest value in a message, and longest message."""
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
_WITHOUT_VALUE = ("missing", "value_error", "assertion_error")
"""Types of errors whose messages need no value."""
IS_CUT = "the answer holds a JSON object that does not end"
NO_JSON = "the answer holds no JSON object"

_Validate = Callable[[str], Any]
"""Validates JSON, or raises ValidationError."""


def validate_answers(texts: pl.Series, schema: AnswerSchema) -> pl.DataFrame:
    """
    Read and check structured answers. Unknown fields are ignored.

    Args:
        texts: String, one answer a row, null for a row without one.

    Returns:
        `violation` String, null if the answer conforms or there is none; `value` Struct of the schema's columns, whose
        fields are null if there is a violation.
    """
    validator, answers = AnswerValidator(schema), whole_objects(texts)
    others = iter(all_objects(texts.filter(texts.is_not_null() & answers.is_null())))
    checked = [
        (None, None) if text is None else validator.choose(next(others)) if answer is None else validator.check(answer)
        for text, answer in zip(texts, answers, strict=True)
    ]
    frame = pl.DataFrame(checked, schema={"violation": pl.String, "json": pl.String}, orient="row")
    dtype = pl.Struct(schema.dtypes)
    value = fields(pl.col("json").str.json_decode(dtype), dtype)
    return frame.select("violation", value=pl.struct(value.values()))


class AnswerValidator:
    """Checks answers against a schema and, if that is a class with validators, against the class."""

    def __init__(self, schema: AnswerSchema) -> None:
        columns = SchemaValidator(_core(schema.root))
        self._fields = frozenset(schema.fields)
        self._columns: _Validate = partial(columns.validate_json, strict=True)
        self._class: _Validate | None = None
        self._class_runs_code = False
        if schema.answer_class:
            self._class = partial(schema.answer_class.model_validate_json, strict=True, extra="ignore")
            self._class_runs_code = runs_code(schema.answer_class.__pydantic_core_schema__)

    def check(self, answer: str) -> tuple[str | None, str | None]:
        """
        Check one answer, a JSON object.

        Returns:
            The first violation, as the path of a field and what is wrong with it, and None; or None, and the JSON from
            which the columns are read. An exception of a validator is quoted with its type.
        """
        try:
            return self._check(answer)
        except (Exception, SystemExit) as error:  # a validator is the user's code, and one answer may not end the run
            return f"{type(error).__name__}: {error}"[:MESSAGE_CHARS], None

    def choose(self, objects: list[str] | None) -> tuple[str | None, str | None]:
        """
        As `check`, of a text with these JSON objects in it: the one that conforms. None: they could not be told.

        If several do and differ, that is a violation. So is another attempt after it, an object with fields of the
        schema that does not conform, or one that is cut: the one that conforms may be quoted. If none does, the
        violation is that of the last.
        """
        if objects is None:
            return "the answer has too many braces to find a JSON object in it", None
        checked = [self.check(answer) for answer in objects if answer != CUT]
        conforming = [told for _, told in checked if told is not None]
        if not conforming:
            return checked[-1] if checked else (NO_JSON, None)
        if CUT in objects:
            return IS_CUT, None
        last = max(i for i, (_, told) in enumerate(checked) if told is not None)
        if wrong := [i for i in range(last + 1, len(checked)) if self._fields & json.loads(objects[i]).keys()]:
            return checked[wrong[-1]]
        if any(json.loads(other) != json.loads(conforming[0]) for other in conforming[1:]):
            return f"the answer holds {len(conforming)} JSON objects that conform and differ; give one", None
        return None, conforming[0]

    def _check(self, answer: str) -> tuple[str | None, str | None]:
        accepted = self._accepts(answer)
        if accepted and not self._class_runs_code:
            return None, answer
        value = _without_nulls(json.loads(answer, parse_float=_number))
        violation = None if accepted else _first_violation(self._columns, value)
        if self._class and (violation or self._class_runs_code):
            violation = _first_violation(self._class, value) or violation
        return (violation, None) if violation else (None, answer if accepted else json.dumps(value))

    def _accepts(self, answer: str) -> bool:
        try:
            self._columns(answer)
        except ValidationError:
            return False
        return True


def runs_code(schema: object) -> bool:
    """Whether a class's core schema calls Python: a validator, `model_post_init` or an `__init__` of its own."""
    if isinstance(schema, Mapping):
        own = str(schema.get("type")).startswith("function-") or schema.get("post_init") or schema.get("custom_init")
        return bool(own) or any(
            runs_code(inner) for key, inner in schema.items() if key not in ("serialization", "metadata")
        )
    return isinstance(schema, list | tuple) and any(map(runs_code, schema))


def _first_violation(validate: _Validate, value: Any) -> str | None:
    errors = _errors(validate, value)
    return _message(errors[0])[:MESSAGE_CHARS] if errors else None


def _errors(validate: _Validate, value: Any) -> list[ErrorDetails]:
    """The errors of *value*; a field that may be null and has no default may be absent as well."""
    errors = _strict_errors(validate, value)
    absent = [error["loc"] for error in errors if error["type"] == "missing"]
    if not absent:
        return errors
    value = deepcopy(value)
    for *path, name in absent:
        parent = value
        for step in path:
            parent = parent[step]
        parent[name] = None
    remaining = _strict_errors(validate, value)
    locations = [error["loc"] for error in remaining]
    return [error for error in errors if error["loc"] in locations] or remaining


def _strict_errors(validate: _Validate, value: Any) -> list[ErrorDetails]:
    try:
        validate(json.dumps(value))
    except ValidationError as error:
        return error.errors(include_url=False, include_context=False)
    return []


def _message(error: ErrorDetails) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"]).lstrip(".")
    text = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if error["type"] not in _WITHOUT_VALUE:
        text += f", got {json.dumps(error['input'], ensure_ascii=False, default=repr)[:VALUE_CHARS]}"
    return f"{path}: {text}" if path else text


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() and _MIN_INT64 <= value <= _MAX_INT64 else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return list(map(_without_nulls, value)) if isinstance(value, list) else value


def _core(node: Node) -> core.CoreSchema:
    if node.item:
        return core.list_schema(_core(node.item), min_length=node.min_size, max_length=node.max_size)
    if node.kind == "object":
        return core.typed_dict_schema({name: _core_field(inner) for name, inner in node.fields.items()})
    # True is 1 in a literal, but not a whole number.
    kind = _scalar_core(node)
    return core.chain_schema([kind, core.literal_schema(list(node.enum))]) if node.enum else kind


def _core_field(node: Node) -> core.TypedDictField:
    schema = _core(node)
    return core.typed_dict_field(core.nullable_schema(schema) if node.optional else schema, required=not node.optional)


def _scalar_core(node: Node) -> core.CoreSchema:
    if node.kind == "integer":
        low = _MIN_INT64 if node.minimum is None else ceil(node.minimum)
        high = _MAX_INT64 if node.maximum is None else floor(node.maximum)
        return core.int_schema(ge=low, le=high)
    if node.kind == "number":
        return core.float_schema(ge=node.minimum, le=node.maximum)
    if node.kind == "boolean":
        return core.bool_schema()
    return core.str_schema(min_length=node.min_size, max_length=node.max_size)
