"""
Pydantic's word on a structured answer: what is wrong with one that its columns refuse, and a class's own validators.

An answer is given to pydantic as the columns read it: null is as good as absent, 3.0 is an integer, and unknown fields
are ignored. Everything else is strict, so that "3" is no integer.
"""

import json
from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, SchemaValidator
from pydantic_core import core_schema as core

from bedrock_assets.config.answer_node import Node
from bedrock_assets.config.answer_schema import AnswerSchema

VALUE_CHARS, MESSAGE_CHARS = 80, 500
"""Longest value in a message, and longest message."""
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
_WITHOUT_VALUE = ("missing", "value_error", "assertion_error")
"""Types of errors whose message says it all."""


def column_validator(schema: AnswerSchema) -> SchemaValidator:
    """A validator that accepts what the columns of *schema* hold."""
    return SchemaValidator(_core(schema.root))


def class_validator(answer_class: type[BaseModel]) -> SchemaValidator:
    """The validator of the user's class, with the validators written in it."""
    return answer_class.__pydantic_validator__  # pyright: ignore[reportReturnType] - or a wrapper of it, for plugins


def runs_code(schema: object) -> bool:
    """Whether a class's core schema calls Python: a validator, `model_post_init` or an `__init__` of its own."""
    if isinstance(schema, Mapping):
        own = str(schema.get("type")).startswith("function-") or schema.get("post_init") or schema.get("custom_init")
        return bool(own) or any(
            runs_code(inner) for key, inner in schema.items() if key not in ("serialization", "metadata")
        )
    return isinstance(schema, list | tuple) and any(map(runs_code, schema))


def first_violation(answer: str, validators: Sequence[SchemaValidator]) -> str | None:
    """
    What the first validator that refuses an answer says.

    Args:
        answer: A JSON object.

    Returns:
        The path of the field and what is wrong with it, None if all accept. A validator that raises anything but
        `ValueError` and `AssertionError` is quoted with the type of its exception.
    """
    try:
        for validator in validators:
            for error in _errors(validator, _without_nulls(json.loads(answer, parse_float=_number))):
                return _message(error)[:MESSAGE_CHARS]
    except (Exception, SystemExit) as error:  # a validator is the user's code, and one answer may not end the run
        return f"{type(error).__name__}: {error}"[:MESSAGE_CHARS]
    return None


def _errors(validator: SchemaValidator, value: Any) -> list[ErrorDetails]:
    """The errors of *value*; a field that may be null and has no default may be absent as well."""
    errors = _strict_errors(validator, value)
    absent = [error["loc"] for error in errors if error["type"] == "missing"]
    if not absent:
        return errors
    for *path, name in absent:
        parent = value
        for step in path:
            parent = parent[step]
        parent[name] = None
    remaining = _strict_errors(validator, value)
    locations = [error["loc"] for error in remaining]
    return [error for error in errors if error["loc"] in locations] or remaining


def _strict_errors(validator: SchemaValidator, value: Any) -> list[ErrorDetails]:
    try:
        validator.validate_json(json.dumps(value), strict=True, extra="ignore")
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
        members = {name: (_core(inner), not inner.optional) for name, inner in node.fields.items()}
        return core.typed_dict_schema(
            {name: core.typed_dict_field(inner, required=required) for name, (inner, required) in members.items()}
        )
    # True is 1 in a literal, but not a whole number.
    kind = _scalar_core(node)
    return core.chain_schema([kind, core.literal_schema(list(node.enum))]) if node.enum else kind


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
