"""Amazon Titan Embeddings G1 - Text. Source: Amazon Bedrock user guide, Titan Embeddings Text, 2026-11."""

from dataclasses import replace

from bedrock_assets.config.task import EmbeddingTask
from bedrock_assets.families.base import Prompt, require_always_normalized, require_dimensions
from bedrock_assets.families.jsontext import Tree
from bedrock_assets.families.titan_embed_v2 import FAMILY as V2

DIMENSIONS = 1536


def _request(prompt: Prompt, _: EmbeddingTask) -> Tree:
    return {"inputText": prompt.text}


def _check(task: EmbeddingTask) -> None:
    require_dimensions(task, (DIMENSIONS,), "Titan Embeddings G1")
    require_always_normalized(task, "Titan Embeddings G1")


FAMILY = replace(
    V2,
    name="titan_embed_g1",
    models=r"amazon\.titan-embed-(?:text-v1|g1-text).*",
    request=_request,
    check=_check,
    dimensions=DIMENSIONS,
)
