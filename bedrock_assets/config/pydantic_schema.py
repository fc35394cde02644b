"""
A pydantic class, named by its import path, as the fields of an answer.

The class is the user's own code, named in the pipeline's YAML; nothing in a dataset or an answer is ever imported.
Types, enums, limits and descriptions in its JSON schema make the columns. Validators written in it run on each answer.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from bedrock_assets.config.answer_node import KINDS
from bedrock_assets.errors import ConfigError

YAML_KEYS = {
    **{name: name for name in ("type", "enum", "minimum", "maximum", "description")},
    **{"minLength": "min_length", "maxLength": "max_length", "minItems": "min_items", "maxItems": "max_items"},
}
"""Keywords of JSON schema, and the keys of a field in YAML that mean the same."""
OTHERS = {"const", "items", "properties", "required", "title", "default", "examples", "format", "additionalProperties"}
"""Other supported keywords; `title`, `default`, `examples` and `format` have no effect."""


def fields_of_class(answer_class: type[BaseModel], path: str) -> dict[str, Any]:
    """
    The fields of a pydantic class, as they would be written under `schema:`.

    Args:
        path: Of the class, for messages.

    Raises:
        ConfigError: One of its fields has no column type.
    """
    schema = answer_class.model_json_schema()
    fields = _field(schema, schema.get("$defs", {}), path, ()).get("object")
    if not fields:
        raise ConfigError(f"{path}: the class has no fields; an answer needs at least one")
    return fields


def load_class(path: str) -> type[BaseModel]:
    """
    The pydantic class at an import path.

    Args:
        path: `my_package.models:Answer`.

    Raises:
        ConfigError: There is no such class.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigError(f"schema: {path!r} is not an import path; write fields, or my_package.models:Answer")
    try:
        loaded: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"schema: {path!r} cannot be imported: {error}. Is the package installed?") from error
    except (Exception, SystemExit) as error:  # the module is the user's, and may do anything when it is imported
        raise ConfigError(
            f"schema: {path!r} cannot be imported: its module raises {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, BaseModel)):
        raise ConfigError(f"schema: {path!r} is not a pydantic class; name a subclass of pydantic.BaseModel")
    return loaded


def _field(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str, within: tuple[str, ...]) -> dict[str, Any]:
    """A JSON schema as a field in YAML; *within* are the classes around it."""
    schema, optional, within = _resolved(schema, defs, path, within)
    unknown = [name for name in schema if name not in YAML_KEYS and name not in OTHERS]
    if unknown or isinstance(schema.get("additionalProperties"), Mapping):
        raise ConfigError(f"{path}: {unknown or 'a mapping with free keys'} cannot be a typed column; use plain types")
    field: dict[str, Any] = {YAML_KEYS[name]: value for name, value in schema.items() if name in YAML_KEYS}
    field["optional"] = optional
    if "const" in schema:
        field["enum"] = [schema["const"]]
    kind = field.pop("type", None)
    if kind == "array":
        field["list"] = _field(schema.get("items", {}), defs, f"{path}[]", within)
    elif kind == "object":
        members = schema.get("properties", {})
        field["object"] = {name: _field(member, defs, f"{path}.{name}", within) for name, member in members.items()}
        for name in members.keys() - schema.get("required", ()):  # a field with a default may be left out of an answer
            field["object"][name]["optional"] = True
    elif "enum" not in field or kind in ("number", "boolean"):  # of words or whole numbers, the values say the type
        field["type"] = _scalar(kind, path)
    return field


def _scalar(kind: str | None, path: str) -> str:
    if kind not in KINDS:
        raise ConfigError(f"{path}: a value of {kind or 'any type'} cannot be a typed column; name one plain type")
    return kind


def _resolved(
    schema: Mapping[str, Any], defs: Mapping[str, Any], path: str, within: tuple[str, ...]
) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
    """The schema with references and `X | None` resolved, whether it may be null, and the classes around it."""
    plain, optional = dict(schema), False
    plain.pop("$defs", None)
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
