"""
The models' answers: deterministic functions of modelInput, one per family.

A new family is a function and a line in `FAMILIES`; the first name found in the model id decides.
"""

from bedrock_assets.emulator.jsontypes import JsonObject
from bedrock_assets.emulator.replies import embeddings, messages, prompts
from bedrock_assets.emulator.replies.base import RecordError, Reply, ReplyFunction

__all__ = ["FAMILIES", "RecordError", "Reply", "ReplyFunction", "is_supported", "on_demand_function", "reply_function"]

FAMILIES: dict[str, ReplyFunction] = {
    "amazon.titan-embed-text-v2": embeddings.titan_embed_v2,
    "amazon.titan-embed-image": embeddings.titan_embed_image,
    "amazon.titan-embed": embeddings.titan_embed_g1,
    "cohere.embed": embeddings.cohere_embed,
    "anthropic.": messages.anthropic,
    "amazon.nova": messages.nova,
    "amazon.titan-t": prompts.titan_text,
    "meta.llama": prompts.llama,
    "mistral.": prompts.mistral,
    "deepseek.": messages.chat,
    "qwen.": messages.chat,
    "openai.": messages.chat,
    "ai21.": messages.chat,
}

_OPAQUE = ("application-inference-profile/", "custom-model/", "imported-model/")
"""ARNs that do not tell which model is behind them."""


def reply_function(model_id: str, invocation_type: str = "InvokeModel") -> ReplyFunction | None:
    """The function that answers a batch record for a model, None if batch inference does not support it."""
    known = _family(model_id)
    if invocation_type == "Converse":
        return messages.converse if known is not None and not _embeds(known) else None
    return known


def on_demand_function(model_id: str, operation: str) -> ReplyFunction | None:
    """The function that answers `InvokeModel` or `Converse` for a model, None if that does not support it."""
    known = _family(model_id)
    if operation == "Converse":
        # the same answer as in batch, without null members: Nova's own format is Converse's
        return messages.nova if known is not None and not _embeds(known) else None
    return known


def is_supported(model_id: str, invocation_type: str = "InvokeModel") -> bool:
    """Whether a job can be created with this model."""
    return reply_function(model_id, invocation_type) is not None


def _family(model_id: str) -> ReplyFunction | None:
    known = next((function for name, function in FAMILIES.items() if name in model_id), None)
    return _by_shape if known is None and any(kind in model_id for kind in _OPAQUE) else known


def _embeds(function: ReplyFunction) -> bool:
    return function.__module__ == embeddings.__name__


def _by_shape(model_input: JsonObject, model_id: str) -> Reply:
    if "anthropic_version" in model_input:
        return messages.anthropic(model_input, model_id)
    if "prompt" in model_input:
        return prompts.llama(model_input, model_id)
    if "inputText" in model_input:
        is_text = "textGenerationConfig" in model_input
        return (prompts.titan_text if is_text else embeddings.titan_embed_v2)(model_input, model_id)
    is_nova = "inferenceConfig" in model_input or "schemaVersion" in model_input
    return (messages.nova if is_nova else messages.chat)(model_input, model_id)
