"""
The models' answers, one format per family, by default deterministic functions of modelInput.

What a family needs of a model (`Models`: an answer to a prompt, a vector of a text) is by default made up by
rules, see `prose` and `embeddings`; `endpoint` and `minilm` ask real models. A new family is a function and a line
in `FAMILIES`; the first name found in the model id decides.
"""

from functools import partial

from bedrock_assets.emulator.jsontypes import JsonObject, as_str
from bedrock_assets.emulator.replies import embeddings, messages, prompts, prose
from bedrock_assets.emulator.replies.base import Family, Models, RecordError, Reply, ReplyFunction
from bedrock_assets.emulator.replies.endpoint import Endpoint
from bedrock_assets.emulator.replies.minilm import minilm

__all__ = [
    "FAMILIES",
    "RULES",
    "Models",
    "RecordError",
    "Reply",
    "ReplyFunction",
    "is_supported",
    "on_demand_function",
    "reply_function",
]

RULES = Models(prose.complete, embeddings.vector_text)
"""Answers made up by rules: deterministic, instant, free."""

FAMILIES: dict[str, Family] = {
    "amazon.titan-embed-text-v2": embeddings.titan_embed_v2,
    "amazon.titan-embed-image": embeddings.titan_embed_image,
    "amazon.titan-embed": embeddings.titan_embed_g1,
    "cohere.embed": embeddings.cohere_embed,
    "anthropic.": messages.anthropic,
    "amazon.nova": messages.nova,
    "amazon.titan-t": prompts.titan_text,
    "meta.llama": prompts.llama,
    "mistral.": messages.mistral,
    "deepseek.r1": prompts.deepseek_r1,
    "deepseek.": messages.chat,
    "qwen.": messages.chat,
    "openai.": messages.chat,
    "ai21.": messages.chat,
}

_OPAQUE = ("application-inference-profile/", "custom-model/", "imported-model/")
"""ARNs that do not tell which model is behind them."""


def choose_models(
    *, chat: Endpoint | None = None, embed: Endpoint | None = None, concurrency: int = 8, with_minilm: bool = False
) -> Models:
    """
    Who answers: real models where some are named, rules elsewhere.

    Args:
        chat: Answers prompts.
        embed: Makes vectors.
        concurrency: Records of a job that endpoints answer at once.
        with_minilm: Make vectors by MiniLM on this machine; *embed* is not looked at then.

    Raises:
        ModuleNotFoundError: The extra `minilm` is not installed.
    """
    vectors = minilm() if with_minilm else embed.embed if embed else RULES.embed
    waits = chat is not None or (embed is not None and not with_minilm)
    return Models(chat.complete if chat else RULES.complete, vectors, concurrency if waits else 1)


def reply_function(model_id: str, invocation_type: str = "InvokeModel", models: Models = RULES) -> ReplyFunction | None:
    """The function that answers a batch record for a model, None if batch inference does not support it."""
    known = _family(model_id)
    if invocation_type == "Converse":
        known = messages.converse if known is not None and not _embeds(known) else None
    return None if known is None else partial(known, models=models)


def on_demand_function(model_id: str, operation: str, models: Models = RULES) -> ReplyFunction | None:
    """The function that answers `InvokeModel` or `Converse` for a model, None if that does not support it."""
    known = _family(model_id)
    if operation == "Converse":
        # the same answer as in batch, without null members: Nova's own format is Converse's
        known = messages.nova if known is not None and not _embeds(known) else None
    return None if known is None else partial(known, models=models)


def is_supported(model_id: str, invocation_type: str = "InvokeModel") -> bool:
    """Whether a job can be created with this model."""
    return reply_function(model_id, invocation_type) is not None


def _family(model_id: str) -> Family | None:
    known = next((function for name, function in FAMILIES.items() if name in model_id), None)
    return _by_shape if known is None and any(kind in model_id for kind in _OPAQUE) else known


def _embeds(function: Family) -> bool:
    return function.__module__ == embeddings.__name__


def _by_shape(model_input: JsonObject, model_id: str, models: Models) -> Reply:
    if "anthropic_version" in model_input:
        family: Family = messages.anthropic
    elif "prompt" in model_input:
        family = prompts.by_template(as_str(model_input["prompt"]))
    elif "inputText" in model_input:
        family = prompts.titan_text if "textGenerationConfig" in model_input else embeddings.titan_embed_v2
    else:
        is_nova = "inferenceConfig" in model_input or "schemaVersion" in model_input
        family = messages.nova if is_nova else messages.chat
    return family(model_input, model_id, models)
