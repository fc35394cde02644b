"""The format that a request sets for its answer: a JSON schema, or a tool that must be called."""

import json
from dataclasses import dataclass

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str
from bedrock_assets.emulator.replies.base import RecordError

_ANY_OBJECT: JsonObject = {"type": "object", "properties": {"answer": {"type": "string"}}}
"""Schema for `json_object`, which has none of its own."""


@dataclass(frozen=True)
class Format:
    """Format of an answer."""

    schema: JsonObject | None = None
    tool: str | None = None
    """Name of the tool that must be called; `schema` is then the schema of its input."""


FREE = Format()


def anthropic_format(model_input: JsonObject) -> Format:
    """`tool_choice`, `output_config.format` or the older `output_format`."""
    choice = as_object(model_input.get("tool_choice"))
    if choice.get("type") in ("tool", "any"):
        tools = [as_object(tool) for tool in as_list(model_input.get("tools"))]
        return _forced([(as_str(tool.get("name")), tool.get("input_schema")) for tool in tools], choice.get("name"))
    wanted = as_object(model_input.get("output_config")).get("format", model_input.get("output_format"))
    if as_object(wanted).get("type") != "json_schema":
        return FREE
    return Format(_schema(as_object(wanted).get("schema"), "output_config.format.schema"))


def converse_format(model_input: JsonObject) -> Format:
    """`toolConfig.toolChoice`, or Converse's `outputConfig.textFormat`, whose schema is a string."""
    config = as_object(model_input.get("toolConfig"))
    choice = as_object(config.get("toolChoice"))
    if "tool" in choice or "any" in choice:
        tools = [as_object(as_object(tool).get("toolSpec")) for tool in as_list(config.get("tools"))]
        named = [(as_str(tool.get("name")), as_object(tool.get("inputSchema")).get("json")) for tool in tools]
        return _forced(named, as_object(choice.get("tool")).get("name"))
    text_format = as_object(as_object(model_input.get("outputConfig")).get("textFormat"))
    if text_format.get("type") != "json_schema":
        return FREE
    schema = as_object(as_object(text_format.get("structure")).get("jsonSchema")).get("schema")
    return Format(_schema(schema, "outputConfig.textFormat.structure.jsonSchema.schema"))


def chat_format(model_input: JsonObject) -> Format:
    """OpenAI's `tool_choice` or `response_format`; Mistral writes `any` for `required`."""
    choice = model_input.get("tool_choice")
    if choice in ("required", "any") or as_object(choice).get("type") == "function":
        tools = [as_object(as_object(tool).get("function")) for tool in as_list(model_input.get("tools"))]
        named = [(as_str(tool.get("name")), tool.get("parameters")) for tool in tools]
        return _forced(named, as_object(as_object(choice).get("function")).get("name"))
    wanted = as_object(model_input.get("response_format"))
    if wanted.get("type") == "json_object":
        return Format(_ANY_OBJECT)
    if wanted.get("type") != "json_schema":
        return FREE
    return Format(_schema(as_object(wanted.get("json_schema")).get("schema"), "response_format.json_schema.schema"))


def _forced(tools: list[tuple[str, Json]], name: Json) -> Format:
    for tool, schema in tools:
        if name in (None, tool):
            return Format(_schema(schema, f"tool {tool}: input schema"), tool)
    raise RecordError(f"tool_choice: Tool '{as_str(name)}' not found in provided tools")


def _schema(value: Json, where: str) -> JsonObject:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise RecordError(f"{where}: Input should be valid JSON") from None
    if not isinstance(value, dict):
        raise RecordError(f"{where}: Input should be a valid dictionary")
    return value
