"""Replies: the shape of each family, and that they are deterministic, useful and never raise."""

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_assets.emulator.replies import FAMILIES, RecordError, reply_function
from bedrock_assets.emulator.replies.base import Prompt
from bedrock_assets.emulator.replies.prose import complete

TRANSCRIPT = """Agent: Thank you for calling, how can I help?
Customer: My invoice shows a delivery fee for a delivery that never came.
Agent: I see the delivery fee on your invoice, sorry.
Customer: Please refund the delivery fee.
Agent: Done. Anything else?
Customer: No."""

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
TITAN_V2 = "amazon.titan-embed-text-v2:0"


def messages(text: str, **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"messages": [{"role": "user", "content": text}], **more}


def claude(text: str, max_tokens: int = 100) -> dict[str, Any]:
    """A request for Claude."""
    return messages(text, anthropic_version="bedrock-2023-05-31", max_tokens=max_tokens)


def converse(text: str) -> dict[str, Any]:
    """A request for Converse or Nova."""
    return {"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 64}}


NOVA_EMBED = "amazon.nova-2-multimodal-embeddings-v1:0"


def nova_embed(text: str, **params: Any) -> dict[str, Any]:
    """A request of Nova Multimodal Embeddings."""
    given = {"truncationMode": "NONE", "value": text}
    return {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX", "text": given, **params},
    }


REQUESTS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "amazon.titan-embed-text-v2": (
        TITAN_V2,
        {"inputText": "a b"},
        {"embedding", "inputTextTokenCount", "embeddingsByType"},
    ),
    "amazon.titan-embed-image": (
        "amazon.titan-embed-image-v1",
        {"inputText": "a b"},
        {"embedding", "inputTextTokenCount"},
    ),
    "amazon.titan-embed": ("amazon.titan-embed-text-v1", {"inputText": "a b"}, {"embedding", "inputTextTokenCount"}),
    "cohere.embed": (
        "cohere.embed-english-v3",
        {"texts": ["a", "b"], "input_type": "search_document"},
        {"id", "embeddings", "response_type", "texts"},
    ),
    "anthropic.": (
        CLAUDE,
        claude("Hi."),
        {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"},
    ),
    "amazon.nova": ("us.amazon.nova-lite-v1:0", converse("Hi."), {"output", "stopReason", "usage"}),
    "amazon.titan-t": ("amazon.titan-text-lite-v1", {"inputText": "Hi."}, {"inputTextTokenCount", "results"}),
    "meta.llama": (
        "meta.llama3-8b-instruct-v1:0",
        {"prompt": "Hi."},
        {"generation", "prompt_token_count", "generation_token_count", "stop_reason"},
    ),
    "mistral.": ("mistral.mistral-7b-instruct-v0:2", {"prompt": "Hi."}, {"outputs"}),
    "deepseek.r1": ("us.deepseek.r1-v1:0", {"prompt": "Hi.", "max_tokens": 64}, {"choices"}),
    "deepseek.": ("deepseek.v3-v1:0", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "qwen.": ("qwen.qwen3-32b-v1:0", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "openai.": ("openai.gpt-oss-20b-1:0", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "ai21.": ("ai21.jamba-1-5-mini-v1:0", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "google.gemma": ("google.gemma-3-12b-it", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "nvidia.": ("nvidia.nemotron-nano-3-30b", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "minimax.": ("minimax.minimax-m2.1", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "moonshot": ("moonshot.kimi-k2-thinking", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "zai.": ("zai.glm-4.7-flash", messages("Hi."), {"id", "object", "model", "choices", "usage"}),
    "amazon.nova-2-multimodal-embeddings": (NOVA_EMBED, nova_embed("a b"), {"embeddings"}),
}


def reply(model_id: str, model_input: dict[str, Any], invocation_type: str = "InvokeModel") -> dict[str, Any]:
    """The modelOutput for a modelInput."""
    function = reply_function(model_id, invocation_type)
    assert function is not None
    return json.loads(function(model_input, model_id).body)


@pytest.mark.parametrize("family", FAMILIES)
def test_shape_of_each_family(family: str) -> None:
    """Each registered family answers its own kind of request, always alike, with the keys AWS documents."""
    model_id, model_input, keys = REQUESTS[family]
    assert set(reply(model_id, model_input)) == keys
    assert reply(model_id, model_input) == reply(model_id, model_input)
    with pytest.raises(RecordError):
        reply(model_id, {})


@pytest.mark.parametrize("family", ["anthropic.", "amazon.nova", "openai.", "meta.llama"])
def test_converse_sets_every_member(family: str) -> None:
    """Under Converse a content block has all members of the union, one of them set, and null cache counters."""
    body = reply(REQUESTS[family][0], converse(TRANSCRIPT), "Converse")
    blocks = body["output"]["message"]["content"]
    told = [name for block in blocks for name, value in block.items() if value is not None]
    assert told == (["reasoningContent", "text"] if family == "openai." else ["text"])
    assert all({"text", "toolUse", "image", "reasoningContent"} < set(block) for block in blocks)
    assert body["usage"]["cacheReadInputTokens"] is None
    assert body["usage"]["totalTokens"] == body["usage"]["inputTokens"] + body["usage"]["outputTokens"]


def test_converse_refuses_tools_and_embeddings() -> None:
    """Converse in batch takes no toolConfig, and no embedding model."""
    with pytest.raises(RecordError, match="toolConfig"):
        reply(CLAUDE, {**converse("Hi."), "toolConfig": {}}, "Converse")
    assert reply_function(TITAN_V2, "Converse") is None
    assert reply_function("stability.image-v1:0") is None


def test_nova_2_tells_that_it_reasoned() -> None:
    """Asked to reason, its answer begins with a redacted block; at high effort it takes no sampling parameters."""
    lite, thinking = "us.amazon.nova-2-lite-v1:0", {"type": "enabled", "maxReasoningEffort": "high"}
    asked = {"messages": converse("Hi.")["messages"], "reasoningConfig": thinking}
    redacted, answer = reply(lite, asked)["output"]["message"]["content"]
    assert redacted == {"reasoningContent": {"reasoningText": {"text": "[REDACTED]"}}}
    assert answer["text"]
    with pytest.raises(RecordError, match="maxTokens, temperature: not supported"):
        reply(lite, {**asked, "inferenceConfig": {"temperature": 0, "maxTokens": 9}})
    assert len(reply(lite, {"messages": asked["messages"]})["output"]["message"]["content"]) == 1


def test_vectors_of_nova() -> None:
    """The vector has the wanted length; a text above the model's limit is a record error, as NONE asks for."""
    (vector,) = reply(NOVA_EMBED, nova_embed("a b", embeddingDimension=384))["embeddings"]
    assert (vector["embeddingType"], len(vector["embedding"])) == ("TEXT", 384)
    assert len(reply(NOVA_EMBED, nova_embed("a b"))["embeddings"][0]["embedding"]) == 3072
    with pytest.raises(RecordError, match="1 to 8192, actual: 8193"):
        reply(NOVA_EMBED, nova_embed("a" * 8193))
    with pytest.raises(RecordError, match="embeddingDimension: 300"):
        reply(NOVA_EMBED, nova_embed("a b", embeddingDimension=300))
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    assert set(reply(arn, nova_embed("a b"))) == {"embeddings"}


def test_text_is_a_summary_of_the_document() -> None:
    """Of a conversation what it is about, and its weightiest line; of other text its weightiest sentences; no more."""
    text = reply(CLAUDE, claude(f"Summarize this call.\n\n{TRANSCRIPT}"))["content"][0]["text"]
    said = "My invoice shows a delivery fee for a delivery that never came."
    assert text == f'They talk about delivery, fee and invoice. Customer: "{said}"'
    review = "The lamp broke.\nI bought it in May.\nThe seller of the lamp never answered."
    assert complete(Prompt([f"Summarize: {review}"])).text == "The lamp broke. The seller of the lamp never answered."


@pytest.mark.parametrize(
    ("instruction", "line"),
    [
        ("Category: one of billing, delivery, other", "Category: delivery"),
        ("- **Topic**: one of: billing | delivery", "Topic: delivery"),
        ("Answer with one of delivery or spam.", "Category: delivery"),
    ],
)
def test_labels(instruction: str, line: str) -> None:
    """A prompt that lists labels gets the one whose words the document has most."""
    assert complete(Prompt([f"{instruction}\n\n<call>{TRANSCRIPT}</call>"])).text.split("\n")[-1] == line


def test_stop_sequences_are_obeyed() -> None:
    """The answer ends before the first stop sequence that it contains, and each family says so in its own words."""
    whole = reply(CLAUDE, claude(TRANSCRIPT))["content"][0]["text"]
    first, second = whole.split()[2:4]
    before = whole.partition(first)[0]
    body = reply(CLAUDE, claude(TRANSCRIPT) | {"stop_sequences": ["not there", second, first]})
    assert (body["content"][0]["text"], body["stop_reason"], body["stop_sequence"]) == (before, "stop_sequence", first)
    assert body["usage"]["output_tokens"] == len(before) // 4
    config = {"inferenceConfig": {"stopSequences": [first]}}
    assert reply("amazon.nova-lite-v1:0", converse(TRANSCRIPT) | config)["stopReason"] == "stop_sequence"
    titan = {"inputText": TRANSCRIPT, "textGenerationConfig": {"stopSequences": [first]}}
    (result,) = reply("amazon.titan-text-express-v1", titan)["results"]
    assert result["completionReason"] == "STOP_CRITERIA_MET"
    (choice,) = reply("qwen.qwen3-32b-v1:0", messages(TRANSCRIPT) | {"stop": first})["choices"]
    assert choice["finish_reason"] == "stop"
    assert first not in choice["message"]["content"]


def test_max_tokens_cut_the_answer() -> None:
    """An answer longer than max_tokens is cut and says so."""
    body = reply(CLAUDE, claude(TRANSCRIPT, max_tokens=5))
    assert (len(body["content"][0]["text"]), body["stop_reason"]) == (20, "max_tokens")
    assert reply(CLAUDE, claude(TRANSCRIPT))["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anthropic_version": None}, "anthropic_version: Input should be 'bedrock-2023-05-31'"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "Hi."}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ],
)
def test_refusals_of_claude(change: dict[str, Any], message: str) -> None:
    """A request that Claude would refuse is an error record that names the member."""
    with pytest.raises(RecordError, match=message):
        reply(CLAUDE, claude("Hi.") | change)


@pytest.mark.parametrize(
    ("model_id", "ceiling"),
    [
        (CLAUDE, 4096),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", 8192),
        ("anthropic.claude-opus-4-20250514-v1:0", 32_000),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 64_000),
    ],
)
def test_ceilings(model_id: str, ceiling: int) -> None:
    """A max_tokens above the model's ceiling fails the record, under either invocation type."""
    reply(model_id, claude("Hi.", ceiling))
    with pytest.raises(RecordError, match=f"exceeds the model limit of {ceiling}"):
        reply(model_id, claude("Hi.", ceiling + 1))
    with pytest.raises(RecordError, match=f"exceeds the model limit of {ceiling}"):
        reply(model_id, converse("Hi.") | {"inferenceConfig": {"maxTokens": ceiling + 1}}, "Converse")


@pytest.mark.parametrize("region", ["messages", "system"])
def test_batch_converse_refuses_caching(region: str) -> None:
    """A cache checkpoint fails a Converse record."""
    request = converse("Hi.")
    checkpoint = {"cachePoint": {"type": "default"}}
    if region == "system":
        request["system"] = [{"text": "Be brief."}, checkpoint]
    else:
        request["messages"][0]["content"].append(checkpoint)
    with pytest.raises(RecordError, match="caching"):
        reply(CLAUDE, request, "Converse")


def test_newer_claude_refuses_both_samplers() -> None:
    """temperature with top_p fails on newer Claude models only."""
    both = claude("Hi.") | {"temperature": 0, "top_p": 1}
    reply(CLAUDE, both)
    with pytest.raises(RecordError, match="top_p"):
        reply("us.anthropic.claude-sonnet-4-5-20250929-v1:0", both)


@pytest.mark.parametrize("dimensions", [256, 512, 1024])
def test_embeddings_are_unit_vectors(dimensions: int) -> None:
    """A vector has the asked dimensions and length 1, and both spellings of it are the same."""
    body = reply(TITAN_V2, {"inputText": TRANSCRIPT, "dimensions": dimensions})
    assert len(body["embedding"]) == dimensions
    assert math.hypot(*body["embedding"]) == pytest.approx(1, abs=1e-6)
    assert body["embeddingsByType"] == {"float": body["embedding"]}
    longer = reply(TITAN_V2, {"inputText": TRANSCRIPT, "dimensions": dimensions, "normalize": False})["embedding"]
    assert math.hypot(*longer) != pytest.approx(1, abs=0.01)
    assert len(reply(TITAN_V2, {"inputText": "a"})["embedding"]) == 1024


def test_similar_texts_have_similar_vectors() -> None:
    """Texts that share words are nearer to each other than texts that do not."""

    def vector(text: str) -> list[float]:
        return reply(TITAN_V2, {"inputText": text})["embedding"]

    def cosine(a: str, b: str) -> float:
        return sum(x * y for x, y in zip(vector(a), vector(b), strict=True))

    near = cosine("the parcel arrived late and broken", "a broken parcel arrived")
    far = cosine("the parcel arrived late and broken", "quantum chromodynamics lecture notes")
    assert near > 0.5 > far


@pytest.mark.parametrize(
    "change", [{"dimensions": 100}, {"dimensions": "256"}, {"normalize": 1}, {"inputText": " "}, {"x": 1}]
)
def test_refusals_of_titan(change: dict[str, Any]) -> None:
    """A request that Titan Embed would refuse is an error record in its words."""
    with pytest.raises(RecordError, match="Malformed input request"):
        reply(TITAN_V2, {"inputText": "a"} | change)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    sorted({key for _, request, _ in REQUESTS.values() for key in (*request, "system", "dimensions", "top_p")})
)
INPUTS = st.dictionaries(KEYS | st.text(max_size=3), JSON_VALUES, max_size=6)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(model_input=INPUTS, text=st.text(), value=JSON_VALUES)
def test_replies_never_raise(family: str, model_input: dict[str, Any], text: str, value: Any) -> None:
    """Whatever JSON a modelInput is, valid but for one member or arbitrary, the reply is JSON or a record error."""
    model_id, valid, _ = REQUESTS[family]
    name = next(iter(model_input), "messages")
    for candidate in (model_input, valid | {name: value}, valid | {"inputText": text, "prompt": text}):
        for invocation_type in ("InvokeModel", "Converse"):
            function = reply_function(model_id, invocation_type)
            if function is not None:
                with suppress(RecordError):
                    json.loads(function(candidate, model_id).body)
