"""
A pydantic class, named by its import path, as the form of an answer.

The class is the user's own code, which the pipeline's YAML names; nothing of a dataset or an answer is ever imported.
Types, enums, limits and descriptions of its JSON schema make the columns. Validators written in it run on each answer.
"""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from bedrock_assets.config.answer_node import KINDS, Kind, Node, checked, enum_kind
from bedrock_assets.errors import ConfigError

KNOWN = frozenset(
    (
        *("type", "title", "description", "default", "examples", "enum", "const", "format", "items", "properties"),
        *("required", "additionalProperties", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    )
)
"""Keywords that are understood; `title`, `default`, `examples` and `format` change nothing."""


def fields_of_class(path: str) -> dict[str, Node]:
    """
    Args:
        path: `my_package.models:Answer`.

    Raises:
        ConfigError: There is no such class, or it has a field of a kind that has no column type.
    """
    schema = load_class(path).model_json_schema()
    node = _node(schema, schema.get("$defs", {}), f"schema {path}", ())
    if node.kind != "object" or not node.fields:
        raise ConfigError(f"schema {path}: the class has no fields; an answer needs at least one")
    return dict(node.fields)


def load_class(path: str) -> type[BaseModel]:
    """
    The class at an import path.

    Raises:
        ConfigError: There is none.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigError(f"schema: {path!r} is no import path; write fields, or my_package.models:Answer")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"schema: {path!r} cannot be imported: {error}. Is the package installed?") from error
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise ConfigError(f"schema: {path!r} is no pydantic class (a subclass of pydantic.BaseModel)")
    return found


def _node(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str, within: tuple[str, ...]) -> Node:
    schema, optional, within = _resolved(schema, defs, path, within)
    unknown = [name for name in schema if name not in KNOWN and name != "$defs"]
    if unknown or isinstance(schema.get("additionalProperties"), Mapping):
        raise ConfigError(f"{path}: {unknown or 'a mapping with free keys'} cannot be a typed column; use plain types")
    enum = tuple(schema.get("enum") or ([schema["const"]] if "const" in schema else []))
    kind = _kind(schema, enum, path)
    properties, required = schema.get("properties", {}), schema.get("required", [])
    is_list = kind == "list"
    node = Node(
        kind=kind,
        optional=optional,
        description=schema.get("description"),
        enum=enum,
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        min_size=schema.get("minItems" if is_list else "minLength"),
        max_size=schema.get("maxItems" if is_list else "maxLength"),
        item=_node(schema.get("items", {}), defs, f"{path}[]", within) if is_list else None,
        fields={name: _member(name, one, defs, path, within, required) for name, one in properties.items()},
    )
    return checked(node, path)


def _member(
    name: str,
    schema: Mapping[str, Any],
    defs: Mapping[str, Any],
    path: str,
    within: tuple[str, ...],
    required: list[str],
) -> Node:
    node = _node(schema, defs, f"{path}.{name}", within)
    # a field with a default need not be answered
    return node if name in required or node.optional else replace(node, optional=True)


def _kind(schema: Mapping[str, Any], enum: tuple[Any, ...], path: str) -> Kind:
    written = schema.get("type")
    if written in KINDS:
        return written
    if written in ("array", "object"):
        return "list" if written == "array" else "object"
    if enum:
        return enum_kind(enum, path)
    raise ConfigError(f"{path}: a value of {written or 'any type'} cannot be a typed column; name one plain type")


def _resolved(
    schema: Mapping[str, Any], defs: Mapping[str, Any], path: str, within: tuple[str, ...]
) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
    """The schema with its reference and its alternative to null taken away, and whether it may be null."""
    found, optional = dict(schema), False
    while "anyOf" in found or "$ref" in found:
        if "anyOf" in found:
            branches = [one for one in found.pop("anyOf") if one.get("type") != "null"]
            if len(branches) != 1:
                raise ConfigError(f"{path}: one of several types cannot be a typed column; name one, or `X | None`")
            optional, found = True, {**branches[0], **found}
        else:
            name = found.pop("$ref").rpartition("/")[2]
            if name in within:
                raise ConfigError(f"{path}: class {name} holds itself, which has no column type")
            found, within = {**defs[name], **found}, (*within, name)
    exclusive = {"exclusiveMinimum": ("minimum", 1), "exclusiveMaximum": ("maximum", -1)}
    for name, (inclusive, step) in exclusive.items():
        if name in found and found.get("type") == "integer":
            found[inclusive] = found.pop(name) + step
    return found, optional, within
