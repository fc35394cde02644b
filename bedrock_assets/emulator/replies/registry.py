"""
Which function answers for a model id, and which models it asks.

Rules (`prose`, `embeddings`) answer by default, deterministically; `real_models` are the alternative. A new family is
a function and a line in `FAMILIES`.
"""

from functools import partial

from bedrock_assets.emulator.jsontypes import JsonObject, as_str
from bedrock_assets.emulator.replies import embeddings, messages, prompts, prose, strict
from bedrock_assets.emulator.replies.base import Family, Models, Reply, ReplyFunction, obey_stops
from bedrock_assets.emulator.replies.real_models import Endpoint, minilm
from bedrock_assets.emulator.replies.strict_anthropic import check_anthropic

RULES = Models(lambda prompt: obey_stops(prompt, prose.complete(prompt)), embeddings.vector_text)
"""Answers made up by rules: deterministic, instant, free."""

FAMILIES: dict[str, Family] = {
    "amazon.titan-embed-text-v2": embeddings.titan_embed_v2,
    "amazon.titan-embed-image": embeddings.titan_embed_image,
    "amazon.titan-embed": embeddings.titan_embed_g1,
    "cohere.embed": embeddings.cohere_embed,
    "anthropic.": messages.anthropic,
    "amazon.nova-2-multimodal-embeddings": embeddings.nova_embed,
    "amazon.nova": messages.nova,
    "amazon.titan-t": prompts.titan_text,
    "meta.llama": prompts.llama,
    "mistral.": messages.mistral,
    "deepseek.r1": prompts.deepseek_r1,
    "deepseek.": messages.chat,
    "qwen.": messages.chat,
    "openai.": messages.chat,
    "ai21.": messages.chat,
    "google.gemma": messages.chat,
    "nvidia.": messages.chat,
    "minimax.": messages.chat,
    "moonshot": messages.chat,
    "zai.": messages.chat,
}
"""Family by a part of the model id; the first part that the id contains decides."""

CHECKS: dict[Family, strict.Check] = {
    messages.anthropic: check_anthropic,
    messages.nova: strict.check_nova,
    messages.mistral: strict.check_mistral,
    messages.chat: strict.check_chat,
    prompts.titan_text: strict.check_titan_text,
    prompts.llama: strict.check_llama,
    prompts.deepseek_r1: strict.check_deepseek_r1,
    prompts.mistral: strict.check_mistral,
    embeddings.cohere_embed: strict.check_cohere,
}
"""What a family's requests are held against; Amazon's embeddings check their own."""

_OPAQUE = ("application-inference-profile/", "custom-model/", "imported-model/")
"""ARNs that do not name the model behind them."""


def choose_models(
    *, chat: Endpoint | None = None, embed: Endpoint | None = None, concurrency: int = 8, with_minilm: bool = False
) -> Models:
    """
    Real models where given, rules elsewhere.

    Args:
        chat: Answers prompts.
        embed: Makes vectors.
        concurrency: Records of a job that endpoints answer at once.
        with_minilm: Make vectors with MiniLM on this machine, instead of *embed*.

    Raises:
        ModuleNotFoundError: The extra `minilm` is not installed.
    """
    vectors = minilm() if with_minilm else embed.embed if embed else RULES.embed
    waits = chat is not None or (embed is not None and not with_minilm)
    return Models(chat.complete if chat else RULES.complete, vectors, concurrency if waits else 1)


def reply_function(model_id: str, invocation_type: str = "InvokeModel", models: Models = RULES) -> ReplyFunction | None:
    """The function that answers a model's batch records; None if batch inference does not support the model."""
    return _function(model_id, messages.converse if invocation_type == "Converse" else None, models)


def on_demand_function(model_id: str, operation: str, models: Models = RULES) -> ReplyFunction | None:
    """The function that answers a model's `InvokeModel` or `Converse`; None if the operation does not support it."""
    # Converse answers as in batch, but without null members: this is Nova's own format
    return _function(model_id, messages.nova if operation == "Converse" else None, models)


def is_supported(model_id: str, invocation_type: str = "InvokeModel") -> bool:
    """Whether a job can be created with this model."""
    return reply_function(model_id, invocation_type) is not None


def _function(model_id: str, converse: Family | None, models: Models) -> ReplyFunction | None:
    family = next((family for part, family in FAMILIES.items() if part in model_id), None)
    if family is None and not any(kind in model_id for kind in _OPAQUE):
        return None
    if converse is None:
        return partial(_answer, models=models, family=family)
    is_text = family is None or family.__module__ != embeddings.__name__
    return partial(_converse, models=models, family=converse) if is_text else None


def _answer(model_input: JsonObject, model_id: str, models: Models, family: Family | None) -> Reply:
    family = family or _by_shape(model_input)
    check = CHECKS.get(family)
    if models.strict and check is not None:
        check(model_input)
    return family(model_input, model_id, models)


def _converse(model_input: JsonObject, model_id: str, models: Models, family: Family) -> Reply:
    if models.strict:
        strict.check_converse(model_input)
    return family(model_input, model_id, models)


def _by_shape(model_input: JsonObject) -> Family:
    """The family whose format a request is in."""
    if "anthropic_version" in model_input:
        return messages.anthropic
    if "prompt" in model_input:
        return prompts.by_template(as_str(model_input["prompt"]))
    if "inputText" in model_input:
        return prompts.titan_text if "textGenerationConfig" in model_input else embeddings.titan_embed_v2
    if "singleEmbeddingParams" in model_input:
        return embeddings.nova_embed
    is_nova = "inferenceConfig" in model_input or "schemaVersion" in model_input
    return messages.nova if is_nova else messages.chat
