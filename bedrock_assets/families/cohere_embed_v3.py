"""
Cohere Embed v3: one text a record.

Source: Amazon Bedrock user guide, Cohere Embed v3, 2026-11. Without `embedding_types` the answer's `embeddings` is a
list of vectors; the guide's own examples also show `{"float": [...]}`, so both are read. Tokens are not told.
`truncate` is left to its default, which embeds the first 512 tokens of a text.
"""

from typing import Any

import polars as pl

from bedrock_assets.config.task import EmbeddingTask
from bedrock_assets.families.base import (
    Family,
    Prompt,
    at,
    embedding_answer,
    require_always_normalized,
    require_dimensions,
)
from bedrock_assets.families.jsontext import Tree

DIMENSIONS = 1024


def request(prompt: Prompt, task: EmbeddingTask) -> dict[str, Any]:
    """What v3 and v4 share."""
    return {"texts": [prompt.text], "input_type": task.input_type}


def _request(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return request(prompt, task)


def _check(task: EmbeddingTask) -> None:
    require_dimensions(task, (DIMENSIONS,), "Cohere Embed v3")
    require_always_normalized(task, "Cohere Embed")


def _first_vector(embeddings: pl.Expr) -> pl.Expr:
    """The first vector of a list, or of the floats among several types; *embeddings* is String, as a column that has
    two shapes must be. Only numbers get as far as being decoded."""
    numbers = embeddings.str.extract(r'(?:^|"float": )\[(\[[-+0-9.eE, ]+\])', 1)
    return numbers.str.json_decode(pl.List(pl.Float32))


FAMILY = Family(
    name="cohere_embed_v3",
    kind="embedding",
    models=r"cohere\.embed-(?:english|multilingual)-v3.*",
    request=_request,
    output=pl.Struct({"embeddings": pl.String}),
    answer=embedding_answer(_first_vector(at("embeddings")), None),
    check=_check,
    dimensions=DIMENSIONS,
)
