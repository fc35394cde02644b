"""Amazon Titan Text Embeddings V2. Source: Amazon Bedrock user guide, Titan Embeddings Text, 2026-11."""

import polars as pl

from bedrock_assets.errors import ConfigError
from bedrock_assets.families.base import Family, Prompt, struct_of, vector
from bedrock_assets.spec import EmbeddingTask

DIMENSIONS = (256, 512, 1024)


def _request(prompt: Prompt, task: EmbeddingTask) -> pl.Expr:
    return struct_of({"inputText": prompt.text, "dimensions": task.dimensions, "normalize": task.normalize})


def _check(task: EmbeddingTask) -> None:
    if task.dimensions not in DIMENSIONS:
        raise ConfigError(f"dimensions: {task.dimensions} is not offered by Titan Embed V2; choose one of {DIMENSIONS}")


FAMILY = Family(
    name="titan_embed_v2",
    kind="embedding",
    models=r"amazon\.titan-embed-text-v2.*",
    request=_request,
    output=pl.Struct({"embedding": pl.List(pl.Float32), "inputTextTokenCount": pl.Int64}),
    answer={
        "embedding": vector(pl.col("modelOutput").struct.field("embedding")),
        "stop_reason": pl.lit(None, pl.String),
        "input_tokens": pl.col("modelOutput").struct.field("inputTextTokenCount"),
        "output_tokens": pl.lit(0, pl.Int64),
    },
    check=_check,
)
