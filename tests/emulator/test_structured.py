"""Structured output: where a request asks for it, in each family's words, and that the answer conforms."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.emulator.replies import RecordError, on_demand_function, reply_function
from bedrock_assets.emulator.replies.base import Prompt
from bedrock_assets.emulator.replies.prose import complete
from bedrock_assets.emulator.replies.structured import conforming_text
from tests.emulator.lab import HAIKU, Lab, connect_to
from tests.emulator.test_replies import CLAUDE, TRANSCRIPT, claude, converse, messages, reply

NOVA = "amazon.nova-lite-v1:0"
NEWER = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
"""Has `output_config`, which Claude 3 does not."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "topic": {"enum": ["billing", "delivery", "other"]},
        "summary": {"type": "string", "maxLength": 60},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "words": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3},
        "callback": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/callback"}]},
        "done": {"type": ["boolean", "null"]},
    },
    "required": ["topic", "summary", "score", "share", "words", "callback", "done"],
    "additionalProperties": False,
    "$defs": {"callback": {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}},
}
TOOL = {"name": "record_call", "input_schema": SCHEMA}
OPENAI_TOOL = {"type": "function", "function": {"name": "record_call", "parameters": SCHEMA}}
CONVERSE_TOOLS = {"tools": [{"toolSpec": {"name": "record_call", "inputSchema": {"json": SCHEMA}}}]}


def check(answer: Any) -> None:
    """The answer conforms, and its label is the one that the transcript is about."""
    jsonschema.validate(answer, SCHEMA)
    assert answer["topic"] == "delivery"
    assert answer["summary"].startswith("They talk about delivery, fee and invoice.")


@pytest.mark.parametrize(
    "wanted",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    ],
)
def test_anthropic_schema(wanted: dict[str, Any]) -> None:
    """Claude's two spellings of structured output give JSON text that conforms."""
    body = reply(NEWER, claude(TRANSCRIPT, 500) | wanted)
    check(json.loads(body["content"][0]["text"]))
    assert body["stop_reason"] == "end_turn"


@pytest.mark.parametrize("choice", [{"type": "tool", "name": "record_call"}, {"type": "any"}])
def test_anthropic_tool(choice: dict[str, Any]) -> None:
    """A tool that Claude has to use is used, with input that conforms; one that it may use is not."""
    body = reply(CLAUDE, claude(TRANSCRIPT, 500) | {"tools": [TOOL], "tool_choice": choice})
    (block,) = body["content"]
    assert (block["type"], block["name"], body["stop_reason"]) == ("tool_use", "record_call", "tool_use")
    check(block["input"])
    free = reply(CLAUDE, claude(TRANSCRIPT, 500) | {"tools": [TOOL], "tool_choice": {"type": "auto"}})
    assert free["content"][0]["type"] == "text"


@pytest.mark.parametrize("choice", [{"tool": {"name": "record_call"}}, {"any": {}}])
def test_nova_tool(choice: dict[str, Any]) -> None:
    """Nova's forced tool has input that conforms."""
    request = converse(TRANSCRIPT) | {"inferenceConfig": {"maxTokens": 500}}
    body = reply("amazon.nova-lite-v1:0", request | {"toolConfig": CONVERSE_TOOLS | {"toolChoice": choice}})
    (block,) = body["output"]["message"]["content"]
    assert body["stopReason"] == "tool_use"
    check(block["toolUse"]["input"])


@pytest.mark.parametrize("function_of", [on_demand_function, reply_function])
def test_converse_text_format(function_of: Any) -> None:
    """Converse's outputConfig, whose schema is a string, gives JSON text, in batch too."""
    structure = {"jsonSchema": {"name": "call", "schema": json.dumps(SCHEMA)}}
    wanted = {"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}}
    request = converse(TRANSCRIPT) | {"inferenceConfig": {"maxTokens": 500}} | wanted
    body = json.loads(function_of(NOVA, "Converse")(request, NOVA).body)
    (block,) = body["output"]["message"]["content"]
    check(json.loads(block["text"]))


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "record_call"}}])
def test_openai_tool(choice: Any) -> None:
    """A function that an OpenAI-like model has to call is called, with its arguments as a string."""
    body = reply("openai.gpt-oss-20b-1:0", messages(TRANSCRIPT, tools=[OPENAI_TOOL], tool_choice=choice))
    (chosen,) = body["choices"]
    assert (chosen["finish_reason"], chosen["message"]["content"]) == ("tool_calls", None)
    check(json.loads(chosen["message"]["tool_calls"][0]["function"]["arguments"]))


def test_openai_response_format() -> None:
    """response_format gives JSON content: conforming with a schema, some object without."""
    wanted = {"type": "json_schema", "json_schema": {"name": "call", "schema": SCHEMA}}
    model_id = "qwen.qwen3-32b-v1:0"
    body = reply(model_id, messages(TRANSCRIPT, response_format=wanted))
    check(json.loads(body["choices"][0]["message"]["content"]))
    body = reply(model_id, messages(TRANSCRIPT, response_format={"type": "json_object"}))
    assert isinstance(json.loads(body["choices"][0]["message"]["content"]), dict)


@pytest.mark.parametrize(
    ("model_id", "request_of"),
    [
        (CLAUDE, lambda text: claude(text, 500)),
        ("meta.llama3-8b-instruct-v1:0", lambda text: {"prompt": text, "max_gen_len": 500}),
        ("mistral.mistral-7b-instruct-v0:2", lambda text: {"prompt": text, "max_tokens": 500}),
    ],
)
def test_a_schema_in_the_prompt(model_id: str, request_of: Any) -> None:
    """A prompt that holds a JSON schema is answered with JSON, whatever the family."""
    prompt = f"Answer with JSON that fits {json.dumps(SCHEMA)} and nothing else.\n\n<call>{TRANSCRIPT}</call>"
    body = reply(model_id, request_of(prompt))
    text = body["content"][0]["text"] if "content" in body else body.get("generation") or body["outputs"][0]["text"]
    check(json.loads(text))


def test_max_tokens_cut_structured_output() -> None:
    """JSON is cut too, and says so; the input of a tool is empty then."""
    wanted = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    body = reply(NEWER, claude(TRANSCRIPT, 5) | wanted)
    assert (len(body["content"][0]["text"]), body["stop_reason"]) == (20, "max_tokens")
    body = reply(CLAUDE, claude(TRANSCRIPT, 5) | {"tools": [TOOL], "tool_choice": {"type": "any"}})
    assert (body["content"][0]["input"], body["stop_reason"]) == ({}, "max_tokens")


@pytest.mark.parametrize(
    "wanted",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": "no object"}}},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "another"}},
        {"tool_choice": {"type": "any"}},
        {"output_format": {"type": "json_schema", "schema": {"type": "array", "minItems": 10**9}}},
        {"output_format": {"type": "json_schema", "schema": {"type": "string", "minLength": 10**9}}},
        {
            "output_format": {
                "type": "json_schema",
                "schema": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            }
        },
    ],
)
def test_schemas_that_cannot_be_followed(wanted: dict[str, Any]) -> None:
    """A schema that is none, that has no end or that asks for a gigabyte, and a tool that is not there, are refused."""
    with pytest.raises(RecordError):
        reply(CLAUDE, claude(TRANSCRIPT) | wanted)


def test_converse_tool_over_http(still_lab: Lab) -> None:
    """A forced tool passes through Converse on demand, and boto3 parses it."""
    runtime = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    answer = runtime.converse(
        modelId=HAIKU,
        messages=[{"role": "user", "content": [{"text": TRANSCRIPT}]}],
        toolConfig=CONVERSE_TOOLS | {"toolChoice": {"tool": {"name": "record_call"}}},
    )
    runtime.close()
    (block,) = answer["output"]["message"]["content"]
    assert (block["toolUse"]["name"], answer["stopReason"]) == ("record_call", "tool_use")
    check(block["toolUse"]["input"])


def bounded(draw: Any, low: int, high: int) -> tuple[int, int]:
    """Two numbers in order."""
    first, second = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    return first, second


@st.composite
def leaves(draw: Any) -> dict[str, Any]:
    """Schemas of plain values."""
    kind = draw(st.sampled_from(["string", "integer", "number", "enum", "const", "nullable", "boolean", "format"]))
    if kind in ("integer", "number"):
        low, high = bounded(draw, -50, 50)
        bounds = draw(st.sampled_from([{}, {"minimum": low}, {"maximum": high}, {"minimum": low, "maximum": high}]))
        return {"type": kind, **bounds}
    if kind == "string":
        low, high = bounded(draw, 0, 300)
        return {"type": kind, **draw(st.sampled_from([{}, {"minLength": low}, {"minLength": low, "maxLength": high}]))}
    values = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
    return {
        "enum": {"enum": draw(st.lists(values, min_size=1, max_size=4))},
        "const": {"const": draw(values)},
        "nullable": {"type": ["null", "string"]},
        "boolean": {"type": "boolean"},
        "format": {"type": "string", "format": draw(st.sampled_from(["date", "email", "uuid"]))},
    }[kind]


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of objects, arrays and choices of others."""
    objects = st.dictionaries(st.text(max_size=4), inner, max_size=4).map(
        lambda members: {"type": "object", "properties": members, "required": list(members)}
    )
    arrays = st.tuples(inner, st.integers(0, 3)).map(
        lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1]}
    )
    branches = st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
    return objects | arrays | branches


@given(schema=st.recursive(leaves(), nested, max_leaves=8), document=st.text(max_size=80))
def test_whatever_the_schema_the_answer_conforms(schema: dict[str, Any], document: str) -> None:
    """Any schema of the usual keywords gets a value that an independent validator accepts, always the same."""
    text = conforming_text(schema, document)
    jsonschema.validate(json.loads(text), schema)
    assert text == conforming_text(schema, document)


def test_labels_still_work_beside_text() -> None:
    """A prompt without a schema is answered in prose as before."""
    assert complete(Prompt([TRANSCRIPT], "Topic: one of billing, delivery")).text.endswith("Topic: delivery")


REVIEWS = {
    "Love this lamp! It is bright and looks perfect.": ("praise", "positive", "quality", 5),
    "The parcel arrived three weeks late and damaged.": ("complaint", "negative", "delivery", 1),
    "Not good at all, and far too expensive.": ("complaint", "negative", "price", 1),
    "It is a lamp. It stands on the table.": ("other", "neutral", "other", 3),
    "Does it work with 110 V?": ("question", "neutral", "other", 3),
}
REVIEW = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["other", "praise", "complaint", "question"]},
        "sentiment": {"enum": ["positive", "neutral", "negative"]},
        "about": {"enum": ["delivery", "quality", "price", "other"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "topics": {"type": "array", "items": {"type": "string"}},
    },
}


def test_labels_and_scores_fit_the_text() -> None:
    """Praise is praise, a complaint has few stars, and what speaks for nothing is `other` and `neutral`."""
    found = {text: json.loads(conforming_text(REVIEW, text)) for text in REVIEWS}
    assert {text: tuple(answer.values())[:4] for text, answer in found.items()} == REVIEWS
    assert [topic in text for text, answer in found.items() for topic in answer["topics"]] == [True] * 10
