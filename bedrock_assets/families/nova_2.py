"""
Amazon Nova 2: text with reasoning, and vectors of text.

Sources, 2026-11:
- Text: Amazon Nova 2 user guide, "Extended thinking". The request is Nova's; `reasoningConfig` stands beside
  `inferenceConfig` under InvokeModel. With reasoning the answer begins with `reasoningContent` blocks, whose text is
  `[REDACTED]`; they have no `text` of their own, so only the answer is read. `maxReasoningEffort: high` takes none of
  `temperature`, `topP`, `topK`, `maxTokens`.
- Vectors: Amazon Nova user guide, "Complete embeddings request and response schema"; Amazon Bedrock user guide,
  "Supported Regions and models for batch inference". A record is the synchronous request: one text of at most 8,192
  characters. The answer tells no tokens. `truncationMode` has to be set: with NONE a text that is too long is an error
  instead of the vector of its beginning. The model also takes images, audio and video; here it is given only text.
"""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from bedrock_assets.config import EmbeddingTask, TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families.amazon import NOVA, check_nova_2, reasoning, unbounded
from bedrock_assets.families.base import Family, Prompt, at, embedding_answer, embedding_check
from bedrock_assets.families.json_template import Tree
from bedrock_assets.models import Model


def _request(prompt: Prompt, task: TextTask) -> Tree:
    request = NOVA.request(prompt, task)
    assert isinstance(request, Mapping)  # noqa: S101 - Nova's request is an object
    return {**request, **unbounded(task), "reasoningConfig": reasoning(task)}


NOVA_2 = replace(
    NOVA,
    name="nova_2",
    request=_request,
    parameters=("stop_sequences", "top_k", "thinking", "effort"),
    check=check_nova_2,
)

PURPOSES = {
    "search_document": "GENERIC_INDEX",
    "search_query": "TEXT_RETRIEVAL",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}
"""`embeddingPurpose` by a task's `input_type`."""

_check_dimensions = embedding_check("Nova Multimodal Embeddings", (256, 384, 1024, 3072), only_normalized=False)


def _check(task: EmbeddingTask, facts: Model) -> None:
    _check_dimensions(task, facts)
    if not task.normalize:
        raise ConfigError("normalize: Nova Multimodal Embeddings has no such option; remove `normalize: false`")


def _embed(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": PURPOSES[task.input_type],
            "embeddingDimension": task.dimensions or 3072,
            "text": {"truncationMode": "NONE", "value": prompt.text},
        },
    }


def _only_vector() -> pl.Expr:
    """The vector, null if there is none or there are several."""
    vectors = at("embeddings")
    return pl.when(vectors.list.len() == 1).then(vectors.list.first().struct.field("embedding"))


NOVA_EMBED = Family(
    name="nova_embed",
    kind="embedding",
    request=_embed,
    output=pl.Struct({"embeddings": pl.List(pl.Struct({"embedding": pl.List(pl.Float32)}))}),
    answer=embedding_answer(_only_vector(), None),
    check=_check,
    dimensions=3072,
)
