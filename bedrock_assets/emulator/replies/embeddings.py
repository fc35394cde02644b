"""
Embeddings: a hashed bag of words, so that texts with words in common have similar vectors.

The hash of each word picks a few dimensions where the word adds and a few where it subtracts, over a faint direction
common to all texts (as in real models, no component is exactly 0). The sums are small integers, so a vector has few
distinct values, and each is formatted once: a vector of 1,024 numbers takes well under a millisecond.
"""

import math
import re
import zlib
from functools import lru_cache

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str, dump
from bedrock_assets.emulator.replies.base import Models, RecordError, Reply, count_tokens

MAX_DIMENSIONS = 3072
TITAN_V2_DIMENSIONS = (256, 512, 1024)
TITAN_IMAGE_DIMENSIONS = (256, 384, 1024)
COHERE_DIMENSIONS = (256, 512, 1024, 1536)
NOVA_DIMENSIONS = (256, 384, 1024, 3072)
MAX_TITAN_CHARS = 50_000
"""Characters of Titan Embed V2's inputText (AWS user guide, 2026-11)."""

MAX_COHERE_TEXTS = 96
MAX_NOVA_CHARS = 8192

_HITS_PER_WORD = 16
_WORD_WEIGHT = 32
_WORD = re.compile(r"\w+")


def _noise(seed: int, n: int) -> list[int]:
    """*n* numbers below 2**16 from a linear congruential generator."""
    numbers: list[int] = []
    for _ in range(n):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        numbers.append(seed >> 16)
    return numbers


_COMMON = [(number % 8) - 4 or 4 for number in _noise(2026, MAX_DIMENSIONS)]


@lru_cache(maxsize=1 << 14)
def _word_dimensions(word: str, dimensions: int) -> tuple[list[int], list[int]]:
    """The dimensions where a word adds, and those where it subtracts."""
    picks = [number % dimensions for number in _noise(zlib.crc32(word.encode("utf-8", "replace")), _HITS_PER_WORD)]
    return picks[::2], picks[1::2]


def vector_text(text: str, dimensions: int, normalize: bool) -> str:
    """The vector of a text as the inside of a JSON array; of length 1 if *normalize*."""
    vector = _COMMON[:dimensions]
    for word in set(_WORD.findall(text.lower())):
        plus, minus = _word_dimensions(word, dimensions)
        for index in plus:
            vector[index] += _WORD_WEIGHT
        for index in minus:
            vector[index] -= _WORD_WEIGHT
    scale = 1 / (math.hypot(*vector) if normalize else 4 * _WORD_WEIGHT)
    formatted = {value: f"{value * scale:.8f}" for value in set(vector)}
    return ",".join(map(formatted.__getitem__, vector))


def titan_embed_v2(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Amazon Titan Text Embeddings V2."""
    _refuse_unknown(model_input, ("inputText", "dimensions", "normalize", "embeddingTypes"))
    text = _input_text(model_input)
    dimensions = _dimensions(model_input.get("dimensions"), TITAN_V2_DIMENSIONS, 1024, "dimensions")
    normalize = model_input.get("normalize", True)
    if not isinstance(normalize, bool):
        raise RecordError("Malformed input request: #/normalize: expected type: Boolean, please reformat your input.")
    vector, n_tokens = models.embed(text, dimensions, normalize), count_tokens(text)
    head = f'{{"embedding":[{vector}],"inputTextTokenCount":{n_tokens}'
    return Reply(f'{head},"embeddingsByType":{{"float":[{vector}]}}}}', n_tokens, 0)


def titan_embed_g1(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Amazon Titan Embeddings G1 - Text."""
    _refuse_unknown(model_input, ("inputText",))
    return _titan(_input_text(model_input), 1536, models)


def titan_embed_image(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Amazon Titan Multimodal Embeddings; the vector depends on the text, or on the image's base64."""
    _refuse_unknown(model_input, ("inputText", "inputImage", "embeddingConfig"))
    wanted = as_object(model_input.get("embeddingConfig")).get("outputEmbeddingLength")
    dimensions = _dimensions(wanted, TITAN_IMAGE_DIMENSIONS, 1024, "embeddingConfig/outputEmbeddingLength")
    image = model_input.get("inputImage")
    return _titan(image if isinstance(image, str) and image else _input_text(model_input), dimensions, models)


def cohere_embed(model_input: JsonObject, model_id: str, models: Models) -> Reply:
    """Cohere Embed v3 and v4."""
    given = as_list(model_input.get("texts"))
    texts = [text for text in given if isinstance(text, str)]
    if not texts or len(texts) != len(given) or len(texts) > MAX_COHERE_TEXTS:
        raise RecordError(f"texts: must be a list of 1 to {MAX_COHERE_TEXTS} strings")
    if "input_type" not in model_input:
        raise RecordError("input_type: must be set")
    default = 1536 if "embed-v4" in model_id else 1024
    dimensions = _dimensions(model_input.get("output_dimension"), COHERE_DIMENSIONS, default, "output_dimension")
    vectors = "[" + ",".join(f"[{models.embed(text, dimensions, True)}]" for text in texts) + "]"
    typed = "embedding_types" in model_input
    embeddings = f'{{"float":{vectors}}}' if typed else vectors
    kind = "embeddings_by_type" if typed else "embeddings_floats"
    rest = f'"response_type":"{kind}","texts":{dump([*texts])}'
    reply_id = f"{zlib.crc32(rest.encode('utf-8', 'surrogatepass')):08x}"
    body = f'{{"id":"{reply_id}","embeddings":{embeddings},{rest}}}'
    return Reply(body, sum(map(count_tokens, texts)), 0)


def nova_embed(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Amazon Nova Multimodal Embeddings of one text; no tokens are told."""
    if model_input.get("taskType") != "SINGLE_EMBEDDING":
        raise RecordError("Malformed input request: #/taskType: SINGLE_EMBEDDING expected, please reformat your input.")
    params = as_object(model_input.get("singleEmbeddingParams"))
    given = as_object(params.get("text"))
    for name, holder in (("embeddingPurpose", params), ("truncationMode", given), ("value", given)):
        if not isinstance(holder.get(name), str):
            raise RecordError(
                f"Malformed input request: #: required key [{name}] not found, please reformat your input."
            )
    text = as_str(given["value"])
    if not 0 < len(text) <= MAX_NOVA_CHARS:
        raise RecordError(
            f"Malformed input request: expected length: 1 to {MAX_NOVA_CHARS}, actual: {len(text)}, "
            "please reformat your input."
        )
    dimensions = _dimensions(params.get("embeddingDimension"), NOVA_DIMENSIONS, 3072, "embeddingDimension")
    vector = models.embed(text, dimensions, True)
    return Reply(f'{{"embeddings":[{{"embeddingType":"TEXT","embedding":[{vector}]}}]}}', count_tokens(text), 0)


def _titan(text: str, dimensions: int, models: Models) -> Reply:
    n_tokens = count_tokens(text)
    vector = models.embed(text, dimensions, True)
    return Reply(f'{{"embedding":[{vector}],"inputTextTokenCount":{n_tokens}}}', n_tokens, 0)


def _input_text(model_input: JsonObject) -> str:
    text = model_input.get("inputText")
    if not isinstance(text, str):
        raise RecordError("Malformed input request: #: required key [inputText] not found, please reformat your input.")
    if not text.strip():
        raise RecordError("Malformed input request: expected minLength: 1, actual: 0, please reformat your input.")
    if len(text) > MAX_TITAN_CHARS:
        raise RecordError(
            f"Malformed input request: expected maxLength: {MAX_TITAN_CHARS}, actual: {len(text)}, "
            "please reformat your input."
        )
    return text


def _dimensions(value: Json, allowed: tuple[int, ...], default: int, name: str) -> int:
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
        return value
    raise RecordError(
        f"Malformed input request: #/{name}: {dump(value)} is not a valid enum value, please reformat your input."
    )


def _refuse_unknown(model_input: JsonObject, known: tuple[str, ...]) -> None:
    for name in model_input:
        if name not in known:
            raise RecordError(
                f"Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input."
            )
