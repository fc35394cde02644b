"""
Checks requests against botocore's service models: required members, types, lengths, bounds, enums, patterns and
unions. boto3 itself checks only the first three.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias, cast

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape

from bedrock_assets.emulator.exceptions import SerializationException, ValidationException
from bedrock_assets.emulator.jsontypes import Json, JsonObject
from bedrock_assets.emulator.operations import SPECS, Operation

Members: TypeAlias = dict[str, Shape]

_JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "list": list,
    "map": dict,
    "string": str,
    "blob": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "boolean": bool,
}

_LINEAR_PATTERNS = {
    # The same within 63 characters, which are checked first. The model's own pattern takes exponential time on a
    # run of hyphens: one request could hang the server.
    r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}": r"[a-zA-Z0-9][a-zA-Z0-9+\-.]*"
}


@lru_cache(maxsize=8)
def _service(name: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(name)


@lru_cache(maxsize=64)
def operation(name: Operation) -> OperationModel:
    """botocore's model of an operation."""
    spec = SPECS[name]
    return _service(spec.service).operation_model(spec.name)


def input_members(name: Operation) -> Members:
    """The members of an operation's request, by name."""
    return members(cast("StructureShape", operation(name).input_shape))


def members(shape: StructureShape) -> Members:
    """The members of a structure, by name."""
    return dict(shape.members)


def check(name: Operation, request: JsonObject) -> JsonObject:
    """
    Check the request of an operation, and drop members that are not in the model, as AWS does.

    Raises:
        ValidationException: The request breaks constraints; the message lists all of them in AWS's words.
        SerializationException: A member has the wrong JSON type.
    """
    shape = cast("StructureShape", operation(name).input_shape)
    problems = list(_problems(shape, request, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise ValidationException(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")
    return cast("JsonObject", _known(shape, request))


def _problems(shape: Shape, value: Json, path: str) -> Iterator[str]:
    if _is_document(shape):
        return
    _check_type(shape, value, path)
    if isinstance(value, dict) and isinstance(shape, StructureShape):
        yield from _structure_problems(shape, value, path)
    elif isinstance(value, dict) and isinstance(shape, MapShape):
        yield from _map_problems(shape, value, path)
    elif isinstance(value, list) and isinstance(shape, ListShape):
        yield from _bounds(shape, len(value), value, path, "length")
        for index, item in enumerate(value):
            yield from _problems(shape.member, item, f"{path}.{index + 1}.member")
    elif isinstance(value, str) and shape.type_name == "string":
        yield from _string_problems(shape, value, path)
    elif isinstance(value, int | float):
        yield from _bounds(shape, value, value, path, "value")


def _check_type(shape: Shape, value: Json, path: str) -> None:
    expected = _JSON_TYPES[shape.type_name]
    wrong_bool = isinstance(value, bool) and shape.type_name != "boolean"
    if not isinstance(value, expected) or wrong_bool:
        raise SerializationException(f"{type(value).__name__} at '{path}' cannot be converted to {shape.type_name}")


def _structure_problems(shape: StructureShape, value: JsonObject, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _problem(None, _child(path, name), "Member must not be null")
    known = members(shape)
    given = [name for name in known if value.get(name) is not None]
    if shape.metadata.get("union") and len(given) != 1:
        yield _problem(None, path, f"Exactly one member of the union must be set: {', '.join(known)}")
    for name in given:
        yield from _problems(known[name], value[name], _child(path, name))


def _map_problems(shape: MapShape, value: JsonObject, path: str) -> Iterator[str]:
    yield from _bounds(shape, len(value), value, path, "length")
    for key, item in value.items():
        yield from _problems(shape.key, key, f"{path}.{key}.key")
        yield from _problems(shape.value, item, f"{path}.{key}.value")


def _string_problems(shape: Shape, value: str, path: str) -> Iterator[str]:
    wrong_length = list(_bounds(shape, len(value), value, path, "length"))
    yield from wrong_length
    pattern = cast("str | None", shape.metadata.get("pattern"))
    if pattern and not wrong_length and not _compiled(pattern).fullmatch(value):
        yield _problem(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    choices = shape.enum if isinstance(shape, StringShape) else []
    if choices and value not in choices:
        yield _problem(value, path, f"Member must satisfy enum value set: [{', '.join(choices)}]")


def _bounds(shape: Shape, size: float, value: Json, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield _problem(value, path, f"Member must have {what} greater than or equal to {low}")
    if high is not None and size > high:
        yield _problem(value, path, f"Member must have {what} less than or equal to {high}")


def _problem(value: Json, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_LINEAR_PATTERNS.get(pattern, pattern))


def _is_document(shape: Shape) -> bool:
    """Whether any JSON is allowed here."""
    return isinstance(shape, StructureShape) and shape.is_document_type


def _known(shape: Shape, value: Json) -> Json:
    if _is_document(shape):
        return value
    if isinstance(value, dict) and isinstance(shape, StructureShape):
        known = members(shape)
        return {name: _known(known[name], item) for name, item in value.items() if name in known and item is not None}
    if isinstance(value, list) and isinstance(shape, ListShape):
        return [_known(shape.member, item) for item in value]
    if isinstance(value, dict) and isinstance(shape, MapShape):
        return {key: _known(shape.value, item) for key, item in value.items()}
    return value
