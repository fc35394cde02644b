"""
An answer cut into the events of a stream: ConverseStream's, and each family's own under InvokeModelWithResponseStream.

The family is known by the shape of its answer, and a client that puts the pieces together has that answer again.
Sources: service model of ConverseStream; Anthropic, streaming Messages; Amazon Nova user guide, streaming responses;
OpenAI, chat completion chunks; Amazon Bedrock user guide, inference parameters of Titan, Llama and Mistral, 2026-11.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from bedrock_assets.emulator.exceptions import ValidationException
from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str, dump

PIECE_CHARS = 24
"""Characters of a piece of text: about a few tokens."""

Event: TypeAlias = tuple[str, JsonObject]
"""Name and payload of an event."""


def pieces(text: str) -> Iterator[str]:
    """A text in pieces; one empty piece of an empty text."""
    for start in range(0, len(text) or 1, PIECE_CHARS):
        yield text[start : start + PIECE_CHARS]


def converse_events(body: JsonObject) -> Iterator[Event]:
    """The events of ConverseStream, from Converse's answer."""
    yield "messageStart", {"role": "assistant"}
    for index, block in enumerate(map(as_object, as_list(as_object(as_object(body["output"])["message"])["content"]))):
        tool = as_object(block.get("toolUse"))
        if tool:
            start: JsonObject = {"toolUse": {name: tool[name] for name in ("toolUseId", "name")}}
            yield "contentBlockStart", {"start": start, "contentBlockIndex": index}
        for delta in _converse_deltas(block):
            yield "contentBlockDelta", {"delta": delta, "contentBlockIndex": index}
        yield "contentBlockStop", {"contentBlockIndex": index}
    yield "messageStop", {"stopReason": body["stopReason"]}
    yield "metadata", {name: body[name] for name in ("usage", "metrics", "serviceTier") if name in body}


def _converse_deltas(block: JsonObject) -> Iterator[JsonObject]:
    if "toolUse" in block:
        for piece in pieces(dump(as_object(block["toolUse"])["input"])):
            yield {"toolUse": {"input": piece}}
    elif "reasoningContent" in block:
        thought = as_object(as_object(block["reasoningContent"])["reasoningText"])
        for piece in pieces(as_str(thought["text"])):
            yield {"reasoningContent": {"text": piece}}
        if "signature" in thought:
            yield {"reasoningContent": {"signature": thought["signature"]}}
    else:
        for piece in pieces(as_str(block["text"])):
            yield {"text": piece}


def invoke_chunks(body: JsonObject) -> Iterator[JsonObject]:
    """
    The chunks of InvokeModelWithResponseStream, from InvokeModel's answer.

    Raises:
        ValidationException: The answer is a vector, which is not streamed.
    """
    for member, chunks in _FAMILIES.items():
        if member in body:
            return chunks(body)
    raise ValidationException("The model is unsupported for streaming.")


def _anthropic(body: JsonObject) -> Iterator[JsonObject]:
    usage = as_object(body.get("usage"))
    begun: JsonObject = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage}}
    yield {"type": "message_start", "message": {**body, **begun}}
    for index, block in enumerate(map(as_object, as_list(body["content"]))):
        empty: JsonObject = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
        start = {**block, **as_object(empty.get(as_str(block["type"]), {"input": {}}))}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in _anthropic_deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    end: JsonObject = {name: body[name] for name in ("stop_reason", "stop_sequence")}
    told: JsonObject = {"output_tokens": usage["output_tokens"]} if "output_tokens" in usage else {}
    yield {"type": "message_delta", "delta": end, "usage": told}
    yield {"type": "message_stop"}


def _anthropic_deltas(block: JsonObject) -> Iterator[JsonObject]:
    match block["type"]:
        case "thinking":
            for piece in pieces(as_str(block["thinking"])):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use":
            for piece in pieces(dump(block["input"])):
                yield {"type": "input_json_delta", "partial_json": piece}
        case _:
            for piece in pieces(as_str(block["text"])):
                yield {"type": "text_delta", "text": piece}


def _llama(body: JsonObject) -> Iterator[JsonObject]:
    unknown: JsonObject = dict.fromkeys(("prompt_token_count", "generation_token_count", "stop_reason"))
    for piece in pieces(as_str(body["generation"])):
        yield {**unknown, "generation": piece}
    yield {**body, "generation": ""}


def _titan(body: JsonObject) -> Iterator[JsonObject]:
    result = as_object(as_list(body["results"])[0])
    ends: JsonObject = {
        "totalOutputTextTokenCount": result.get("tokenCount"),
        "completionReason": result["completionReason"],
        "inputTextTokenCount": body.get("inputTextTokenCount"),
    }
    texts = list(pieces(as_str(result["outputText"])))
    for number, piece in enumerate(texts, 1):
        told = ends if number == len(texts) else dict.fromkeys(ends)
        yield {"outputText": piece, "index": 0, **told}


def _completion(body: JsonObject, member: str) -> Iterator[JsonObject]:
    """A text completion: Mistral's `outputs`, DeepSeek's `choices`."""
    choice = as_object(as_list(body[member])[0])
    texts = list(pieces(as_str(choice["text"])))
    for number, piece in enumerate(texts, 1):
        reason = choice["stop_reason"] if number == len(texts) else None
        yield {member: [{"text": piece, "stop_reason": reason}]}


def _chat(body: JsonObject) -> Iterator[JsonObject]:
    choice = as_object(as_list(body["choices"])[0])
    message = as_object(choice["message"])
    head: JsonObject = {**body, "object": "chat.completion.chunk"}
    usage = head.pop("usage", None)

    def chunk(delta: JsonObject, reason: Json = None) -> JsonObject:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(as_str(message.get("content"))):
        yield chunk({"content": piece})
    for name in ("tool_calls", "refusal"):
        if name in message:
            yield chunk({name: _numbered(message[name])})
    yield {**chunk({}, choice["finish_reason"]), "usage": usage}


def _numbered(value: Json) -> Json:
    """Calls of tools with their places in the message, as deltas have them."""
    return [{"index": index, **as_object(one)} for index, one in enumerate(value)] if isinstance(value, list) else value


def _choices(body: JsonObject) -> Iterator[JsonObject]:
    is_chat = "message" in as_object(as_list(body["choices"])[0])
    return _chat(body) if is_chat else _completion(body, "choices")


_FAMILIES: dict[str, Callable[[JsonObject], Iterator[JsonObject]]] = {
    "error": lambda body: iter((body,)),
    "content": _anthropic,
    "output": lambda body: ({name: payload} for name, payload in converse_events(body)),
    "generation": _llama,
    "results": _titan,
    "outputs": lambda body: _completion(body, "outputs"),
    "choices": _choices,
}
"""How a family's answer is cut, by a member that only its answers have."""
