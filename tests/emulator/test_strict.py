"""Requests that models on AWS refuse for their form are refused, in AWS's words, unless the emulator is lenient."""

from dataclasses import replace
from typing import Any

import pytest

from bedrock_assets.emulator.replies import RULES, RecordError, reply_function
from tests.emulator.lab import Lab, StartLab, record

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
USER = {"role": "user", "content": "Hi."}
ASKED = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 2000, "messages": [USER]}
NOVA_USER = {"role": "user", "content": [{"text": "Hi."}]}
NOVA_ASSISTANT = {"role": "assistant", "content": [{"text": "Hello."}]}
START = "A conversation must start with a user message."
ALTERNATE = "A conversation must alternate between user and assistant roles."


def says(*blocks: Any) -> dict[str, Any]:
    """A change of the messages: the user says these blocks."""
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def refusal(
    model: str, request: dict[str, Any], invocation_type: str = "InvokeModel", *, strict: bool = True
) -> str | None:
    """The message that a record gets, if it is refused."""
    function = reply_function(model, invocation_type, replace(RULES, strict=strict))
    assert function is not None
    try:
        function(request, model)
    except RecordError as error:
        return error.message
    return None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modelId": "x"}, "modelId: Extra inputs are not permitted"),
        ({"stream": False}, "stream: Extra inputs are not permitted"),
        ({"anthropic_version": "2023-06-01"}, "anthropic_version: Input should be 'bedrock-2023-05-31'"),
        ({"messages": [{"role": "system", "content": "Be brief."}, USER]}, 'Unexpected role "system"'),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
        ({"messages": [{**USER, "name": "Ann"}]}, "messages.0.name: Extra inputs are not permitted"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0: all messages must have non-empty content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content: Input should be a valid list"),
        ({"messages": {}}, "messages: Input should be a valid list"),
        ({"messages": ["Hi."]}, "messages.0: Input should be a valid dictionary"),
        (says({"type": "text", "text": ""}), "text content blocks must be non-empty"),
        (says({"type": "text", "text": " \n"}), "text content blocks must contain non-whitespace text"),
        (says({"type": "text"}), "messages.0.content.0.text.text: Field required"),
        (says({"type": "video", "source": {}}), "messages.0.content.0: Input tag 'video' found using 'type'"),
        (says({"text": "Hi."}), "messages.0.content.0: Unable to extract tag using discriminator 'type'"),
        (
            says({"type": "text", "text": "Hi.", "id": 1}),
            "messages.0.content.0.text.id: Extra inputs are not permitted",
        ),
        ({"max_tokens": "2000"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"temperature": "0"}, "temperature: Input should be a valid number"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
        ({"top_p": -1}, "top_p: Input should be greater than or equal to 0"),
        ({"top_k": 1.5}, "top_k: Input should be a valid integer"),
        ({"stop_sequences": "END"}, "stop_sequences: Input should be a valid list"),
        ({"stop_sequences": ["\n"]}, "stop_sequences: each stop sequence must contain non-whitespace"),
        ({"system": [{"type": "image"}]}, "system.0.type: Input should be 'text'"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking.budget_tokens: Input should be greater"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "must be greater than `thinking.budget_tokens`"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "temperature": 0.5},
            "`temperature` may only be set to 1 when thinking is enabled.",
        ),
        ({"messages": [USER, {"role": "assistant", "content": "So: "}]}, "cannot end with trailing whitespace"),
    ],
)
def test_what_claude_refuses(change: dict[str, Any], message: str) -> None:
    """Each fault of form is one message that names where it is."""
    refused = refusal(CLAUDE, ASKED | change)
    assert refused is not None
    assert message in refused


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Be brief.", "stop_sequences": ["END"], "top_k": 5, "temperature": 1},
        {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {"system": None, "stop_sequences": None, "temperature": None},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"anthropic_beta": ["output-128k-2025-02-19"], "metadata": {"user_id": "7"}},
        {"messages": [USER, {"role": "assistant", "content": "{"}]},
        says(
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "Rain."}]},
            {"type": "text", "text": "Hi."},
        ),
    ],
)
def test_what_claude_takes(change: dict[str, Any]) -> None:
    """All that is documented passes."""
    assert refusal(CLAUDE, ASKED | change) is None


MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    (NOVA, {**ASKED}, "schema violations found"),
    (NOVA, {"messages": [NOVA_USER], "max_tokens": 5}, "#: extraneous key [max_tokens] is not permitted"),
    (NOVA, {"messages": [USER]}, "#/messages/0/content: expected type: JSONArray, found: String"),
    (NOVA, {"messages": [{"role": "system", "content": []}]}, '#/messages/0/role: "system" is not a valid enum value'),
    (NOVA, {"messages": [NOVA_USER], "inferenceConfig": {"maxTokens": "9"}}, "maxTokens: expected type: Integer"),
    (NOVA, {"messages": [NOVA_USER], "inferenceConfig": {"topP": 2}}, "#/inferenceConfig/topP: 2 is not less or equal"),
    (NOVA, {"messages": [NOVA_USER], "inferenceConfig": {"stopSequences": "x"}}, "expected type: JSONArray"),
    (NOVA, {"messages": [NOVA_USER], "schemaVersion": "v2"}, '#/schemaVersion: "v2" is not a valid enum value'),
    ("meta.llama3-1-8b-instruct-v1:0", {"prompt": "Hi.", "max_tokens": 5}, "#: extraneous key [max_tokens]"),
    (
        "meta.llama3-1-8b-instruct-v1:0",
        {"prompt": "Hi.", "temperature": 1.5},
        "#/temperature: 1.5 is not less or equal",
    ),
    ("meta.llama3-1-8b-instruct-v1:0", {"max_gen_len": 5}, "#: required key [prompt] not found"),
    ("amazon.titan-text-express-v1", {"inputText": "Hi.", "x": 1}, "#: extraneous key [x] is not permitted"),
    (
        "amazon.titan-text-express-v1",
        {"inputText": "Hi.", "textGenerationConfig": {"maxTokens": 5}},
        "#/textGenerationConfig: extraneous key [maxTokens] is not permitted",
    ),
    ("cohere.embed-english-v3", {"texts": ["a"], "input_type": "search_document", "model": "x"}, "key [model]"),
    ("cohere.embed-english-v3", {"texts": ["a"], "input_type": "query"}, '#/input_type: "query" is not a valid enum'),
    ("cohere.embed-english-v3", {"texts": ["a"]}, "#: required key [input_type] not found"),
    ("mistral.mistral-7b-instruct-v0:2", {"prompt": "Hi.", "stream": True}, "#: extraneous key [stream]"),
    ("mistral.mistral-large-2407-v1:0", {"messages": [USER], "temperature": 1.5}, "#/temperature: 1.5 is not less"),
    (
        "us.deepseek.r1-v1:0",
        {"prompt": "Hi.", "max_tokens": 99_999},
        "#/max_tokens: 99999 is not less or equal to 32768",
    ),
    ("qwen.qwen3-32b-v1:0", {"messages": [], "max_tokens": 5}, "#/messages: expected minimum item count: 1, found: 0"),
    ("qwen.qwen3-32b-v1:0", {"messages": [USER], "max_tokens": True}, "expected type: Integer, found: Boolean"),
    (
        "qwen.qwen3-32b-v1:0",
        {"messages": [USER], "temperature": None, "top_p": 3},
        "#/top_p: 3 is not less or equal to 1",
    ),
]


@pytest.mark.parametrize(("model", "request_", "message"), MALFORMED)
def test_what_other_models_refuse(model: str, request_: dict[str, Any], message: str) -> None:
    """Keys, types and bounds, in the words of a JSON schema."""
    refused = refusal(model, request_)
    assert refused is not None
    assert refused.startswith("Malformed input request: ")
    assert refused.endswith(", please reformat your input.")
    assert message in refused


@pytest.mark.parametrize(
    ("model", "request_"),
    [
        (CLAUDE, {**ASKED, "stream": True, "anthropic_version": "x", "stop_sequences": "END", "temperature": 7}),
        (NOVA, {**ASKED}),
        (NOVA, {"messages": [NOVA_ASSISTANT, NOVA_USER]}),
        ("meta.llama3-1-8b-instruct-v1:0", {"prompt": "Hi.", "max_tokens": 5, "temperature": "0"}),
        ("cohere.embed-english-v3", {"texts": ["a"], "input_type": "query", "model": "x"}),
    ],
)
def test_what_a_lenient_emulator_takes(model: str, request_: dict[str, Any]) -> None:
    """What is refused for its form alone is answered then."""
    assert refusal(model, request_) is not None
    assert refusal(model, request_, strict=False) is None


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([NOVA_ASSISTANT, NOVA_USER], START),
        ([NOVA_USER, NOVA_USER], ALTERNATE),
        ([{"role": "user", "content": [{"text": " "}]}], "ContentBlock object at messages.0.content.0 is blank"),
        ([{"role": "user", "content": [{}]}], "must set one of its members, and has 0"),
        ([{"role": "user", "content": [{"text": "a", "cachePoint": {"type": "default"}}]}], "and has 2"),
    ],
)
@pytest.mark.parametrize("invocation_type", ["InvokeModel", "Converse"])
def test_conversations_of_nova_and_converse(invocation_type: str, messages: Any, message: str) -> None:
    """A conversation begins with the user, alternates, and has no empty block."""
    refused = refusal(NOVA, {"messages": messages}, invocation_type)
    assert refused is not None
    assert message in refused
    assert refusal(NOVA, {"messages": [NOVA_USER, NOVA_ASSISTANT, NOVA_USER]}, invocation_type) is None


def test_a_batch_answer_can_be_said_again() -> None:
    """A message that a batch job wrote has null members, and is taken as a turn of the next conversation."""
    block = {"text": "Hello.", "image": None, "toolUse": None}
    messages = [NOVA_USER, {"role": "assistant", "content": [block]}, NOVA_USER]
    assert refusal(NOVA, {"messages": messages}, "Converse") is None


def _one_job(lab: Lab) -> dict[str, Any]:
    row = record("a", "Hi.")
    row["modelInput"]["stream"] = True
    arn = lab.create("a-job", lab.put("in/x.jsonl", [row]), CLAUDE)
    lab.wait(arn)
    (line,) = lab.lines(arn, "x.jsonl.out")
    return line


def test_a_record_in_a_job(lab: Lab) -> None:
    """It gets one error line, as the job completes."""
    line = _one_job(lab)
    assert line["error"] == {"errorCode": 400, "errorMessage": "stream: Extra inputs are not permitted"}
    assert "modelOutput" not in line


def test_lenient(start: StartLab) -> None:
    """`lenient` answers it."""
    assert "modelOutput" in _one_job(start(lenient=True))
