"""
Requests as strictly as the models take them: keys, types, bounds and roles, by family.

Anthropic's service checks with pydantic, and its words are pydantic's; most others are checked by a JSON schema, whose
words begin with `Malformed input request`. The keys of OpenAI-like chat are not held against a list: each of its models
takes others.

Sources, 2026-11: the families' inference parameters in the Amazon Bedrock user guide; Amazon Nova user guide, complete
request schema; Cohere's API reference; botocore's service model of Converse.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str, dump
from bedrock_assets.emulator.replies.base import RecordError

Check: TypeAlias = Callable[[JsonObject], None]
"""Refuses a modelInput with a `RecordError`."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
MAX_STOPS = 4
"""Stop sequences of Titan Text and of OpenAI-like chat."""


class Request(BaseModel):
    """A request, or an object in it, without any other key and without conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Loose(Request):
    """The same, with any other keys."""

    model_config = ConfigDict(extra="ignore")


class Camel(Request):
    """The same, with keys as Amazon spells them."""

    model_config = ConfigDict(alias_generator=to_camel)


class LlamaRequest(Request):
    prompt: str
    max_gen_len: Positive = 512
    temperature: Share = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1
    images: list[str] = []


class TitanTextConfig(Camel):
    temperature: Share = 0
    top_p: Share = 1
    max_token_count: Positive = 512
    stop_sequences: Annotated[list[str], Field(max_length=MAX_STOPS)] = []


class TitanTextRequest(Camel):
    input_text: str
    text_generation_config: TitanTextConfig = TitanTextConfig()


class MistralRequest(Request):
    prompt: str
    max_tokens: Positive = 512
    temperature: Share = 0
    top_p: Share = 1
    top_k: Annotated[int, Field(ge=0, le=200)] = 0
    stop: Annotated[list[str], Field(max_length=10)] = []


class DeepSeekRequest(Request):
    prompt: str
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 512
    temperature: Share = 0
    top_p: Share = 1
    stop: Annotated[list[str], Field(max_length=10)] = []


class CohereRequest(Request):
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[Any] | None = None
    input_type: Literal["search_document", "search_query", "classification", "clustering", "image"]
    truncate: Literal["NONE", "START", "END", "LEFT", "RIGHT"] = "NONE"
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary"]] | None = None
    output_dimension: int | None = None
    max_tokens: Positive | None = None


class NovaBlock(Camel):
    text: str | None = None
    image: dict[str, Any] | None = None
    video: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    document: dict[str, Any] | None = None
    tool_use: dict[str, Any] | None = None
    tool_result: dict[str, Any] | None = None
    reasoning_content: dict[str, Any] | None = None
    cache_point: dict[str, Any] | None = None
    citations_content: dict[str, Any] | None = None
    guard_content: dict[str, Any] | None = None
    search_result: dict[str, Any] | None = None


class NovaMessage(Camel):
    role: Literal["user", "assistant"]
    content: Annotated[list[NovaBlock], Field(min_length=1)]


class NovaConfig(Camel):
    max_tokens: Positive | None = None
    max_new_tokens: Annotated[Positive | None, Field(alias="max_new_tokens")] = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=0, le=128)] | None = None
    stop_sequences: list[str] | None = None


class ConverseRequest(Camel):
    messages: list[NovaMessage]
    system: list[NovaBlock] | None = None
    inference_config: NovaConfig | None = None
    tool_config: dict[str, Any] | None = None
    additional_model_request_fields: dict[str, Any] | None = None
    additional_model_response_field_paths: list[str] | None = None
    guardrail_config: dict[str, Any] | None = None
    prompt_variables: dict[str, Any] | None = None
    request_metadata: dict[str, str] | None = None
    performance_config: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None


class NovaRequest(Camel):
    schema_version: Literal["messages-v1"] = "messages-v1"
    messages: list[NovaMessage]
    system: list[NovaBlock] | None = None
    inference_config: NovaConfig | None = None
    tool_config: dict[str, Any] | None = None
    reasoning_config: dict[str, Any] | None = None
    additional_model_request_fields: dict[str, Any] | None = None


class ChatMessage(Loose):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None


class ChatRequest(Loose):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Share | None = None
    stop: str | list[str] | None = None


class MistralChatRequest(ChatRequest):
    temperature: Share | None = None


def by_schema(schema: type[Request]) -> Check:
    """A check whose words are those of a JSON schema."""
    validate = schema.__pydantic_validator__.validate_python

    def check(model_input: JsonObject) -> None:
        try:
            validate(model_input)
        except ValidationError as error:
            raise RecordError(_malformed(error)) from None

    return check


check_llama = by_schema(LlamaRequest)
check_titan_text = by_schema(TitanTextRequest)
check_deepseek_r1 = by_schema(DeepSeekRequest)
check_cohere = by_schema(CohereRequest)
check_chat = by_schema(ChatRequest)
_check_mistral_prompt = by_schema(MistralRequest)
_check_mistral_chat = by_schema(MistralChatRequest)
_check_nova_form = by_schema(NovaRequest)
_check_converse_form = by_schema(ConverseRequest)


def check_mistral(model_input: JsonObject) -> None:
    """Text completion, or chat."""
    (_check_mistral_chat if "messages" in model_input else _check_mistral_prompt)(model_input)


def check_nova(model_input: JsonObject) -> None:
    """Nova under InvokeModel."""
    _check_nova_form(model_input)
    _check_turns(model_input)


def check_converse(model_input: JsonObject) -> None:
    """Converse, for any model."""
    _check_converse_form(model_input)
    _check_turns(model_input)


def _check_turns(model_input: JsonObject) -> None:
    """What Converse and Nova refuse in a conversation whose form is right."""
    messages = [as_object(message) for message in as_list(model_input.get("messages"))]
    roles = [as_str(message.get("role")) for message in messages]
    if roles and roles[0] != "user":
        raise RecordError(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    if any(one == other for one, other in pairwise(roles)):
        raise RecordError(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
            "between user and assistant roles and try again."
        )
    for number, message in enumerate(messages):
        for index, block in enumerate(map(as_object, as_list(message.get("content")))):
            _check_block(block, f"messages.{number}.content.{index}")


def _check_block(block: JsonObject, where: str) -> None:
    given = [name for name, value in block.items() if value is not None]
    if len(given) != 1:
        raise RecordError(f"The ContentBlock object at {where} must set one of its members, and has {len(given)}.")
    if given == ["text"] and not as_str(block["text"]).strip():
        raise RecordError(
            f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try again."
        )


_EXPECTED = {
    "int_type": "Integer",
    "int_from_float": "Integer",
    "float_type": "Number",
    "string_type": "String",
    "list_type": "JSONArray",
    "dict_type": "JSONObject",
    "model_type": "JSONObject",
}
_WORDS = {
    "extra_forbidden": "{parent}: extraneous key [{key}] is not permitted",
    "missing": "{parent}: required key [{key}] not found",
    "greater_than_equal": "{path}: {value} is not greater or equal to {ge:g}",
    "greater_than": "{path}: {value} is not greater than {gt:g}",
    "less_than_equal": "{path}: {value} is not less or equal to {le:g}",
    "too_short": "{path}: expected minimum item count: {min_length}, found: {actual_length}",
    "too_long": "{path}: expected maximum item count: {max_length}, found: {actual_length}",
    **dict.fromkeys(_EXPECTED, "{path}: expected type: {expected}, found: {found}"),
}
"""Words of the validator of JSON schemas, by pydantic's name of the problem."""
_FOUND: dict[type, str] = {
    bool: "Boolean",
    int: "Integer",
    float: "BigDecimal",
    str: "String",
    list: "JSONArray",
    dict: "JSONObject",
    type(None): "Null",
}


def _malformed(error: ValidationError) -> str:
    """The one message of a request that breaks a JSON schema."""
    problems = error.errors(include_url=False)
    if len({problem["loc"][0] if problem["loc"] else "" for problem in problems}) > 1:
        text = f"{len(problems)} schema violations found"
    else:
        text = _violation(problems[0]["type"], problems[0]["loc"], problems[0]["input"], problems[0].get("ctx", {}))
    return f"Malformed input request: {text}, please reformat your input."


def _violation(kind: str, where: tuple[int | str, ...], value: Json, bounds: dict[str, Any]) -> str:
    path, parent = ("/".join(("#", *map(str, parts))) for parts in (where, where[:-1]))
    words = _WORDS.get(kind)
    if words is None:
        return f"{path}: {dump(value)} is not a valid enum value"
    found = {"value": dump(value), "found": _FOUND[type(value)], "expected": _EXPECTED.get(kind, "")}
    return words.format(path=path, parent=parent, key=where[-1], **found, **bounds)
