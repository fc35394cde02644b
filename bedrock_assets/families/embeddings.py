"""
Embedding models, one text a record: Amazon Titan and Cohere Embed.

Source: Amazon Bedrock user guide, 2026-11: Titan Embeddings Text, Titan Multimodal Embeddings G1 (here only of text; an
answer's `message` reports an error), Cohere Embed v3, Cohere Embed v4. Cohere's answers do not report tokens, and
`truncate` is left at its default, which embeds the first 512 tokens of a text. Without `embedding_types` Cohere's
`embeddings` is a list of vectors; the guide's own examples also show `{"float": [...]}`, so both are read.
"""

from dataclasses import replace

import polars as pl

from bedrock_assets.config import EmbeddingTask
from bedrock_assets.families.base import Family, Prompt, at, embedding_answer, embedding_check
from bedrock_assets.families.json_template import Tree


def _titan_v2(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return {"inputText": prompt.text, "dimensions": task.dimensions or 1024, "normalize": task.normalize}


def _titan_g1(prompt: Prompt, _: EmbeddingTask) -> Tree:
    return {"inputText": prompt.text}


def _titan_multimodal(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return {"inputText": prompt.text, "embeddingConfig": {"outputEmbeddingLength": task.dimensions or 1024}}


TITAN_EMBED_V2 = Family(
    name="titan_embed_v2",
    kind="embedding",
    request=_titan_v2,
    output=pl.Struct({"embedding": pl.List(pl.Float32), "inputTextTokenCount": pl.Int64}),
    answer=embedding_answer(at("embedding"), at("inputTextTokenCount")),
    check=embedding_check("Titan Embed V2", (256, 512, 1024), only_normalized=False),
    dimensions=1024,
)
TITAN_EMBED_G1 = replace(
    TITAN_EMBED_V2,
    name="titan_embed_g1",
    request=_titan_g1,
    check=embedding_check("Titan Embeddings G1", (1536,)),
    dimensions=1536,
)
TITAN_EMBED_MULTIMODAL = replace(
    TITAN_EMBED_V2,
    name="titan_embed_multimodal",
    request=_titan_multimodal,
    check=embedding_check("Titan Multimodal Embeddings", (256, 384, 1024)),
)


def _cohere_v3(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return {"texts": [prompt.text], "input_type": task.input_type}


def _cohere_v4(prompt: Prompt, task: EmbeddingTask) -> Tree:
    return {"texts": [prompt.text], "input_type": task.input_type, "output_dimension": task.dimensions or 1536}


def _only_vector(embeddings: pl.Expr) -> pl.Expr:
    """
    The vector of a list of one, or of the floats among several types; null where there are several vectors.

    *embeddings* is String, because a column of two shapes has to be. Only numbers are decoded.
    """
    numbers = embeddings.str.extract(r'(?:^|"float": )\[(\[[-+0-9.eE, ]+\])\s*\]', 1)
    return numbers.str.json_decode(pl.List(pl.Float32))


COHERE_EMBED_V3 = Family(
    name="cohere_embed_v3",
    kind="embedding",
    request=_cohere_v3,
    output=pl.Struct({"embeddings": pl.String}),
    answer=embedding_answer(_only_vector(at("embeddings")), None),
    check=embedding_check("Cohere Embed v3", (1024,)),
    dimensions=1024,
)
COHERE_EMBED_V4 = replace(
    COHERE_EMBED_V3,
    name="cohere_embed_v4",
    request=_cohere_v4,
    check=embedding_check("Cohere Embed v4", (256, 512, 1024, 1536)),
    dimensions=1536,
)
