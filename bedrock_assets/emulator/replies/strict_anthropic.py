"""
Anthropic's requests as strictly as its models take them.

Sources: Anthropic's API reference of Messages, and Claude Messages API in the Amazon Bedrock user guide, 2026-11; the
messages are those of field reports where there are any, and pydantic's elsewhere, as the service checks with pydantic.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError

from bedrock_assets.emulator.jsontypes import JsonObject, as_list, as_object, as_str
from bedrock_assets.emulator.replies.base import RecordError
from bedrock_assets.emulator.replies.strict import Positive, Request, Share

MIN_THINKING_TOKENS = 1024
"""Fewest `budget_tokens`."""


class Block(Request):
    """What blocks of content share."""

    cache_control: dict[str, Any] | None = None


class TextBlock(Block):
    type: Literal["text"]
    text: str
    citations: Any = None


class ImageBlock(Block):
    type: Literal["image"]
    source: dict[str, Any]


class DocumentBlock(Block):
    type: Literal["document"]
    source: dict[str, Any]
    title: str | None = None
    context: str | None = None
    citations: dict[str, Any] | None = None


class SearchResultBlock(Block):
    type: Literal["search_result"]
    source: str
    title: str
    content: list[TextBlock]
    citations: dict[str, Any] | None = None


class ToolUseBlock(Block):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    caller: Any = None


class ToolResultBlock(Block):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[dict[str, Any]] | None = None
    is_error: bool | None = None


class ThinkingBlock(Request):
    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinkingBlock(Request):
    type: Literal["redacted_thinking"]
    data: str


AnyBlock = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock,
    Field(discriminator="type"),
]


def _form(value: Any) -> str:
    return "(text)" if isinstance(value, str) else "(blocks)"


Content = Annotated[Annotated[str, Tag("(text)")] | Annotated[list[AnyBlock], Tag("(blocks)")], Discriminator(_form)]
System = Annotated[Annotated[str, Tag("(text)")] | Annotated[list[TextBlock], Tag("(blocks)")], Discriminator(_form)]


class Message(Request):
    role: Literal["user", "assistant"]
    content: Content


class Thinking(Request):
    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: Annotated[int, Field(ge=MIN_THINKING_TOKENS)] | None = None
    display: str | None = None


class AnthropicRequest(Request):
    anthropic_version: Literal["bedrock-2023-05-31"]
    anthropic_beta: list[str] | None = None
    max_tokens: Positive
    messages: list[Message]
    system: System | None = None
    stop_sequences: list[str] | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: Thinking | None = None
    output_config: dict[str, Any] | None = None
    output_format: dict[str, Any] | None = None
    context_management: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


_validate = AnthropicRequest.__pydantic_validator__.validate_python


def check_anthropic(model_input: JsonObject) -> None:
    """
    Anthropic Messages.

    Raises:
        RecordError: The request has another key, a value of the wrong type or out of range, or content that is empty.
    """
    messages = [as_object(message) for message in as_list(model_input.get("messages"))]
    if any(message.get("role") == "system" for message in messages):
        raise RecordError(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role."
        )
    try:
        _validate(model_input)
    except ValidationError as error:
        raise RecordError(_first(error)) from None
    for number, message in enumerate(messages):
        _check_content(message, number, is_last=number == len(messages) - 1)
    if any(not as_str(stop).strip() for stop in as_list(model_input.get("stop_sequences"))):
        raise RecordError("stop_sequences: each stop sequence must contain non-whitespace")
    _check_thinking(model_input)


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("("))
    text = "Input should be a valid dictionary" if problem["type"] == "model_type" else problem["msg"]
    return f"{where}: {text}"


def _check_content(message: JsonObject, number: int, *, is_last: bool) -> None:
    content, is_prefill = message["content"], is_last and message["role"] == "assistant"
    texts = (
        [content]
        if isinstance(content, str)
        else [block["text"] for block in map(as_object, as_list(content)) if block.get("type") == "text"]
    )
    if not content and not is_prefill:
        raise RecordError(
            f"messages.{number}: all messages must have non-empty content except for the optional final assistant "
            "message"
        )
    if any(text == "" for text in texts):
        raise RecordError("messages: text content blocks must be non-empty")
    if any(not as_str(text).strip() for text in texts):
        raise RecordError("messages: text content blocks must contain non-whitespace text")
    if is_prefill and texts and as_str(texts[-1]) != as_str(texts[-1]).rstrip():
        raise RecordError("messages: final assistant content cannot end with trailing whitespace")


def _check_thinking(model_input: JsonObject) -> None:
    thinking = as_object(model_input.get("thinking"))
    if thinking.get("type") != "enabled":
        return
    budget, max_tokens = thinking.get("budget_tokens"), model_input["max_tokens"]
    if not isinstance(budget, int):
        raise RecordError("thinking.enabled.budget_tokens: Field required")
    if isinstance(max_tokens, int) and max_tokens <= budget:
        raise RecordError("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if model_input.get("temperature") not in (None, 1):
        raise RecordError("`temperature` may only be set to 1 when thinking is enabled.")
