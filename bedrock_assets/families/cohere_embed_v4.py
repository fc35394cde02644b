"""Cohere Embed v4: one text a record. Source: Amazon Bedrock user guide, Cohere Embed v4, 2026-11; else as v3."""

from dataclasses import replace

from bedrock_assets.config.task import EmbeddingTask
from bedrock_assets.families.base import Prompt, require_always_normalized, require_dimensions
from bedrock_assets.families.cohere_embed_v3 import FAMILY as V3
from bedrock_assets.families.cohere_embed_v3 import request
from bedrock_assets.families.jsontext import Tree

DEFAULT = 1536


def _request(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return request(prompt, task) | {"output_dimension": task.dimensions or DEFAULT}


def _check(task: EmbeddingTask) -> None:
    require_dimensions(task, (256, 512, 1024, DEFAULT), "Cohere Embed v4")
    require_always_normalized(task, "Cohere Embed")


FAMILY = replace(
    V3,
    name="cohere_embed_v4",
    models=r"cohere\.embed-v4.*",
    request=_request,
    check=_check,
    dimensions=DEFAULT,
)
