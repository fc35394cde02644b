"""
What a model writes before its answer where it thinks, in each family's form.

A thought takes tokens from `max_tokens` like any other text: an answer may be cut before it begins, and then has the
thought alone. Sources: Anthropic, extended and adaptive thinking; Amazon Nova 2 user guide, extended thinking; service
model of Converse (`ReasoningContentBlock`), 2026-11. What a signature says nobody tells; ours only has its look.
"""

import re
from base64 import b64encode
from hashlib import blake2b

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_object
from bedrock_assets.emulator.replies.base import Completion, RecordError
from bedrock_assets.models import find_model

_THINKS_ALOUD = re.compile(r"openai\.gpt-oss|moonshot\.kimi-k2-thinking")
"""Models that write their reasoning into the text of a chat completion."""


def thinks(model_id: str, asked: Json) -> bool:
    """
    Whether a model thinks on a request.

    Args:
        asked: The request's `thinking` object, if it has one.
    """
    facts = find_model(model_id)
    by_itself = facts is not None and facts.thinking in ("default", "always")
    kind = as_object(asked).get("type")
    return kind != "disabled" if by_itself else kind in ("enabled", "adaptive")


def thinks_aloud(model_id: str) -> bool:
    """Whether a model writes its thought into the text of a chat completion."""
    return _THINKS_ALOUD.search(model_id) is not None


def nova_reasons(model_input: JsonObject) -> bool:
    """
    Whether a request asks Nova 2 to think.

    Raises:
        RecordError: The highest effort does not go with a limit of tokens or with sampling.
    """
    fields = as_object(model_input.get("additionalModelRequestFields"))
    config = as_object(model_input.get("reasoningConfig", fields.get("reasoningConfig")))
    if config.get("type") != "enabled":
        return False
    refused = {"temperature", "topP", "topK", "maxTokens"} & set(as_object(model_input.get("inferenceConfig")))
    if config.get("maxReasoningEffort") == "high" and refused:
        raise RecordError(f"{', '.join(sorted(refused))}: not supported with maxReasoningEffort high")
    return True


def anthropic_blocks(answer: Completion, asked: Json) -> list[Json]:
    """The thinking block before the answer, if there is a thought; its text is empty where it is not displayed."""
    if not answer.thinking:
        return []
    shown = "" if as_object(asked).get("display") == "omitted" else answer.thinking
    return [{"type": "thinking", "thinking": shown, "signature": _signature(answer.thinking)}]


def converse_blocks(answer: Completion, model_id: str) -> list[JsonObject]:
    """The same for Converse and Nova: Nova redacts its thought, and only Claude signs it."""
    if not answer.thinking:
        return []
    text: JsonObject = {"text": "[REDACTED]" if "amazon.nova" in model_id else answer.thinking}
    if "anthropic." in model_id:
        text["signature"] = _signature(answer.thinking)
    return [{"reasoningContent": {"reasoningText": text}}]


def aloud(answer: Completion, opening: str, closing: str) -> str:
    """Thought and answer as one text; a thought that max_tokens cut is not closed."""
    if answer.thinking is None:
        return answer.text
    is_cut = answer.truncated and not answer.text
    return f"{opening}{answer.thinking}" if is_cut else f"{opening}{answer.thinking}{closing}{answer.text}"


def _signature(thought: str) -> str:
    return b64encode(blake2b(thought.encode("utf-8", "surrogatepass")).digest()).decode()
