"""
Answers that are not what was asked for, as faults make them: refusals, filtered texts, errors in an answer's place,
and tokens that are not told.

The family is known by the shape of its answer. Sources: the families' response formats in the Amazon Bedrock user guide
and Anthropic's API reference, 2026-11; that an error stands inside `modelOutput` is a field report. Converse has no
stop reason for a refusal, so that of filtered content is used.
"""

import json

from bedrock_assets.emulator.faults import AnswerFault, TokenCounts
from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str, dump
from bedrock_assets.emulator.replies.base import Reply

_REFUSAL = "I can't help with that request."
_MESSAGE = "The server had an error while processing your request."
_TOKENS = frozenset(
    (
        *("input_tokens", "output_tokens", "inputTokens", "outputTokens", "totalTokens"),
        *("prompt_tokens", "completion_tokens", "total_tokens"),
        *("prompt_token_count", "generation_token_count", "inputTextTokenCount", "tokenCount"),
    )
)
"""Members that tell tokens, in all families."""


def faulty(reply: Reply, fault: AnswerFault | None, tokens: TokenCounts) -> Reply:
    """The answer as the faults leave it; what is billed stays."""
    if fault is None and tokens == "told":
        return reply
    body = as_object(json.loads(reply.body))
    if fault == "error_object":
        body = _error(body)
    elif fault is not None:
        _refuse(body, filtered=fault == "content_filtered")
    if tokens != "told":
        body = _without_tokens(body, tokens)
    return Reply(dump(body), reply.input_tokens, reply.output_tokens)


def _error(body: JsonObject) -> JsonObject:
    if body.get("type") == "message":
        return {"type": "error", "error": {"type": "api_error", "message": _MESSAGE}}
    return {"error": {"message": _MESSAGE, "type": "server_error", "code": 500}}


def _refuse(body: JsonObject, *, filtered: bool) -> None:
    """Refuse before the first word, or with *filtered* in the middle of the answer; a vector is not refused."""
    results, choices = as_list(body.get("results")), as_list(body.get("choices"))
    if body.get("type") == "message":
        body |= {"content": _half(body.get("content")) if filtered else [], "stop_reason": "refusal"}
    elif "stopReason" in body:
        message = as_object(as_object(body["output"])["message"])
        message["content"] = _half(message["content"]) if filtered else []
        body["stopReason"] = "content_filtered"
    elif results:
        result = as_object(results[0])
        text = as_str(result["outputText"])
        result |= {"outputText": text[: len(text) // 2] if filtered else "", "completionReason": "CONTENT_FILTERED"}
    elif choices and "message" in as_object(choices[0]):
        _refuse_chat(as_object(choices[0]), filtered=filtered)
    elif "generation" in body:
        body["generation"] = _REFUSAL
    for one in (*as_list(body.get("outputs")), *choices):  # text completions have no other way to refuse
        if "text" in as_object(one):
            as_object(one)["text"] = _REFUSAL


def _refuse_chat(choice: JsonObject, *, filtered: bool) -> None:
    message = as_object(choice["message"])
    message.pop("tool_calls", None)
    text = as_str(message.get("content"))
    if filtered:
        message["content"] = text[: len(text) // 2]
        choice["finish_reason"] = "content_filter"
    else:
        message |= {"content": None, "refusal": _REFUSAL}
        choice["finish_reason"] = "stop"


def _half(content: Json) -> list[Json]:
    """The first half of each text, without calls of tools."""
    blocks = [block for block in map(as_object, as_list(content)) if isinstance(block.get("text"), str)]
    return [{**block, "text": as_str(block["text"])[: len(as_str(block["text"])) // 2]} for block in blocks]


def _without_tokens(body: JsonObject, tokens: TokenCounts) -> JsonObject:
    told: JsonObject = {}
    for name, value in body.items():
        if name in _TOKENS or (name == "usage" and tokens == "absent"):
            told |= {name: None} if tokens == "nulls" else {}
        elif name in ("usage", "results"):
            told[name] = _without_tokens_in(value, tokens)
        else:
            told[name] = value
    return told


def _without_tokens_in(value: Json, tokens: TokenCounts) -> Json:
    if isinstance(value, list):
        return [_without_tokens(as_object(one), tokens) for one in value]
    return _without_tokens(as_object(value), tokens)
