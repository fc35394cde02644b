"""Amazon Titan Text Embeddings V2. Source: Amazon Bedrock user guide, Titan Embeddings Text, 2026-11."""

import polars as pl

from bedrock_assets.config.task import EmbeddingTask
from bedrock_assets.families.base import Family, Prompt, at, embedding_answer, require_dimensions
from bedrock_assets.families.jsontext import Tree

DEFAULT = 1024


def _request(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return {"inputText": prompt.text, "dimensions": task.dimensions or DEFAULT, "normalize": task.normalize}


def _check(task: EmbeddingTask) -> None:
    require_dimensions(task, (256, 512, DEFAULT), "Titan Embed V2")


FAMILY = Family(
    name="titan_embed_v2",
    kind="embedding",
    models=r"amazon\.titan-embed-text-v2.*",
    request=_request,
    output=pl.Struct({"embedding": pl.List(pl.Float32), "inputTextTokenCount": pl.Int64}),
    answer=embedding_answer(at("embedding"), at("inputTextTokenCount")),
    check=_check,
    dimensions=DEFAULT,
)
