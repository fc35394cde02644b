"""ConverseStream and InvokeModelWithResponseStream, as unmodified boto3 reads them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from bedrock_assets.emulator import Faults
from tests.emulator.lab import HAIKU, TITAN_EMBED, Lab, connect_to
from tests.emulator.test_replies import REQUESTS, claude

TEXT = "The parcel never arrived. The customer wants a refund. " * 3
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": [{"text": TEXT}]}]
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def runtime(still_lab: Lab) -> Iterator[Any]:
    """A client at the emulator that the module shares."""
    client = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    yield client
    client.close()
    still_lab.emulator.set_faults(Faults())


def chunks(runtime: Any, model_id: str, body: Any) -> list[dict[str, Any]]:
    """The chunks of InvokeModelWithResponseStream, parsed."""
    answer = runtime.invoke_model_with_response_stream(modelId=model_id, body=json.dumps(body))
    assert answer["contentType"] == "application/json"
    return [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]


def texts(value: Any) -> str:
    """All text that stands under the members that hold an answer's text, in order."""
    if isinstance(value, list):
        return "".join(map(texts, value))
    if not isinstance(value, dict):
        return ""
    names = ("text", "content", "generation", "outputText", "thinking")
    return "".join(one if name in names and isinstance(one, str) else texts(one) for name, one in value.items())


def test_the_chunks_of_each_family_are_its_answer(runtime: Any) -> None:
    """The texts of the chunks make InvokeModel's text, and the last chunk tells tokens; a vector is not streamed."""
    failures: list[str] = []
    n_streamed = 0
    for family, (model_id, body, _) in REQUESTS.items():
        response = runtime.invoke_model(modelId=model_id, body=json.dumps(body))
        headers, whole = response["ResponseMetadata"]["HTTPHeaders"], json.loads(response["body"].read())
        if "embed" in model_id:
            with pytest.raises(ClientError, match="unsupported for streaming"):
                chunks(runtime, model_id, body)
            continue
        found = chunks(runtime, model_id, body)
        n_streamed += 1
        n_tokens = found[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"]
        if texts(found) != texts(whole) or str(n_tokens) != headers["x-amzn-bedrock-output-token-count"]:
            failures.append(f"{family}: {texts(found)!r} is not {texts(whole)!r}, or not its {n_tokens} tokens")
    assert not failures
    assert n_streamed > 9


def test_a_claude_stream_thinks_and_calls_a_tool(runtime: Any) -> None:
    """Anthropic's events come in their order, and their deltas make the blocks of the whole answer."""
    body = claude(TEXT, 4000) | {"thinking": THINKING}
    events = chunks(runtime, SONNET, body)
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    whole = json.loads(runtime.invoke_model(modelId=SONNET, body=json.dumps(body))["body"].read())
    for block, kind, name in zip(whole["content"], ("thinking_delta", "text_delta"), ("thinking", "text"), strict=True):
        assert "".join(delta[name] for delta in deltas if delta["type"] == kind) == block[name]
    tool = {"name": "note", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    body = claude(TEXT) | {"tools": [tool], "tool_choice": {"type": "tool", "name": "note"}}
    events = chunks(runtime, HAIKU, body)
    parts = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    whole = json.loads(runtime.invoke_model(modelId=HAIKU, body=json.dumps(body))["body"].read())
    assert json.loads("".join(parts)) == whole["content"][0]["input"]


def test_converse_stream_is_converse_in_pieces(runtime: Any) -> None:
    """The deltas make Converse's thought and text; stop reason and usage are its own."""
    request: dict[str, Any] = {"modelId": SONNET, "messages": MESSAGES, "inferenceConfig": {"maxTokens": 4000}}
    request["additionalModelRequestFields"] = {"thinking": THINKING}
    whole = runtime.converse(**request)
    events = list(runtime.converse_stream(**request)["stream"])
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    thought, answer = whole["output"]["message"]["content"]
    reasoning = [delta["reasoningContent"] for delta in deltas if "reasoningContent" in delta]
    assert "".join(delta.get("text", "") for delta in deltas) == answer["text"]
    told = thought["reasoningContent"]["reasoningText"]
    assert "".join(delta.get("text", "") for delta in reasoning) == told["text"]
    assert reasoning[-1]["signature"] == told["signature"]
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert events[-2] == {"messageStop": {"stopReason": whole["stopReason"]}}
    assert events[-1]["metadata"]["usage"] == whole["usage"]


def test_a_stream_breaks_off(runtime: Any, still_lab: Lab) -> None:
    """With the fault a stream ends in the middle with the error that boto3 raises while it reads; it was paid."""
    still_lab.emulator.set_faults(Faults(stream_error_rate=1))
    stream = runtime.converse_stream(modelId=HAIKU, messages=MESSAGES)["stream"]
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        list(stream)
    paid = {(row.operation, row.model_id) for row in still_lab.emulator.invocations()}
    assert ("ConverseStream", HAIKU) in paid
    with pytest.raises(ClientError, match="doesn't support the model"):
        runtime.converse_stream(modelId=TITAN_EMBED, messages=MESSAGES)
