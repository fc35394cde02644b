"""
Amazon Titan Multimodal Embeddings G1, of text.

Source: Amazon Bedrock user guide, Titan Multimodal Embeddings G1, 2026-11: an answer's `message` tells of an error.
"""

from dataclasses import replace

from bedrock_assets.config.task import EmbeddingTask
from bedrock_assets.families.base import Prompt, require_always_normalized, require_dimensions
from bedrock_assets.families.jsontext import Tree
from bedrock_assets.families.titan_embed_v2 import FAMILY as V2

DEFAULT = 1024


def _request(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return {"inputText": prompt.text, "embeddingConfig": {"outputEmbeddingLength": task.dimensions or DEFAULT}}


def _check(task: EmbeddingTask) -> None:
    require_dimensions(task, (256, 384, DEFAULT), "Titan Multimodal Embeddings")
    require_always_normalized(task, "Titan Multimodal Embeddings")


FAMILY = replace(
    V2,
    name="titan_embed_multimodal",
    models=r"amazon\.titan-embed-image-.*",
    request=_request,
    check=_check,
    dimensions=DEFAULT,
)
