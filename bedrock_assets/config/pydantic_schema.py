"""
A pydantic class, named by its import path, as the schema of an answer.

The class is the user's own code, named in the pipeline's YAML; nothing in a dataset or an answer is ever imported.
Types, enums, limits and descriptions in its JSON schema are used; validators written in Python do not run.
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
"""Supported JSON schema keywords; `title`, `default`, `examples` and `format` have no effect."""


def fields_of_class(path: str) -> dict[str, Node]:
    """
    The fields of a pydantic class.

    Args:
        path: `my_package.models:Answer`.

    Raises:
        ConfigError: There is no such class, or one of its fields has no column type.
    """
    schema = _load(path).model_json_schema()
    node = _node(schema, schema.get("$defs", {}), f"schema {path}", ())
    if node.kind != "object" or not node.fields:
        raise ConfigError(f"schema {path}: the class has no fields; an answer needs at least one")
    return dict(node.fields)


def _load(path: str) -> type[BaseModel]:
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigError(f"schema: {path!r} is not an import path; write fields, or my_package.models:Answer")
    try:
        loaded: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"schema: {path!r} cannot be imported: {error}; is the package installed?") from error
    if not (isinstance(loaded, type) and issubclass(loaded, BaseModel)):
        raise ConfigError(f"schema: {path!r} is not a pydantic class; name a subclass of pydantic.BaseModel")
    return loaded


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
        fields={name: _member(name, member, defs, path, within, required) for name, member in properties.items()},
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
    # A field with a default may be left out of an answer.
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
    """The schema with references and `X | None` resolved, whether it may be null, and the classes it is within."""
    plain, optional = dict(schema), False
    while "anyOf" in plain or "$ref" in plain:
        if "anyOf" in plain:
            branches = [branch for branch in plain.pop("anyOf") if branch.get("type") != "null"]
            if len(branches) != 1:
                raise ConfigError(f"{path}: one of several types cannot be a typed column; use one type, or `X | None`")
            optional, plain = True, {**branches[0], **plain}
        else:
            name = plain.pop("$ref").rpartition("/")[2]
            if name in within:
                raise ConfigError(f"{path}: class {name} contains itself, which has no column type; remove that field")
            plain, within = {**defs[name], **plain}, (*within, name)
    exclusive = {"exclusiveMinimum": ("minimum", 1), "exclusiveMaximum": ("maximum", -1)}
    for name, (inclusive, step) in exclusive.items():
        if name in plain and plain.get("type") == "integer":
            plain[inclusive] = plain.pop(name) + step
    return plain, optional, within
