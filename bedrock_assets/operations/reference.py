"""The reference of all keys in a defs.yaml, made from the models: a page for people, JSON schema for editors."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bedrock_assets.config.templating import attributes_of
from bedrock_assets.pipeline.project import COMPONENTS

HEAD = """# Every key of a defs.yaml

Printed by `bedrock-assets reference`. Keys stand under `attributes:`, beside `type:`.
A key without a default has to be given; `none` is the same as leaving it out.
"""


def json_schema() -> dict[str, Any]:
    """JSON schema of a whole defs.yaml, for editors that check YAML as it is written."""
    kinds: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for name, spec in COMPONENTS.items():
        attributes = attributes_of(spec).model_json_schema()
        definitions |= attributes.pop("$defs", {})
        kinds.append({"properties": {"type": {"const": name}, "attributes": attributes}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "defs.yaml",
        "type": "object",
        "required": ["type", "attributes"],
        "oneOf": kinds,
        "$defs": definitions,
    }


def page() -> str:
    """The reference, as Markdown: a table for each component, and one for each part of it."""
    sections, written = [HEAD], set[str]()
    for component, spec in COMPONENTS.items():
        schema = spec.model_json_schema(by_alias=True)
        definitions = schema.get("$defs", {})
        sections += _table(f"type: {component}", schema, definitions)
        for path, name in _parts("", schema, definitions):
            if path not in written:
                sections += _table(path, definitions[name], definitions)
                written.add(path)
    return "\n".join(sections) + "\n"


def _parts(path: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where each part stands, and its name among the definitions, in the order of the keys."""
    for key, value in schema["properties"].items():
        for name in _referred(value):
            if "properties" in definitions[name]:
                at = f"{path}.{key}".lstrip(".")
                yield at, name
                yield from _parts(at, definitions[name], definitions)


def _table(path: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    yield f"## `{path}`\n"
    if schema.get("description"):
        yield " ".join(schema["description"].split()) + "\n"
    yield "| key | type | default | |\n|---|---|---|---|"
    required = schema.get("required", [])
    for key, value in schema["properties"].items():
        default = "" if key in required else f"`{_default(value)}`"
        description = " ".join(value.get("description", "").split()).replace("|", "\\|")
        yield f"| `{key}` | {_type(value, definitions)} | {default} | {description} |"
    yield ""


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if "default" in value or "anyOf" in value:
        plain = isinstance(default, str) and default.isprintable() and default
        return "none" if default is None else str(default) if plain else json.dumps(default)
    return "{}" if value.get("type") == "object" else "that of its keys"


def _type(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    options = [option for option in value.get("anyOf", [value]) if option.get("type") != "null"]
    return " or ".join(dict.fromkeys(_one_type(option, definitions) for option in options))


def _one_type(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in value:
        named = definitions[value["$ref"].rpartition("/")[2]]
        return "see below" if "properties" in named else _one_type(named, definitions)
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}), definitions)}"
    if value.get("type") == "object":
        values = value.get("additionalProperties")
        return f"mapping to {_type(values, definitions)}" if isinstance(values, dict) and values else "mapping"
    names: dict[str, str] = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    kind = str(value.get("type", "any"))
    return names.get(kind, kind)


def _referred(value: Mapping[str, Any]) -> Iterator[str]:
    for option in (value, *value.get("anyOf", ()), *value.get("allOf", ())):
        if "$ref" in option:
            yield option["$ref"].rpartition("/")[2]
