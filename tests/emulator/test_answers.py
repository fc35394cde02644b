"""Answers as real ones: thoughts that max_tokens cuts; by faults refusals, filtered texts, errors, untold tokens."""

import json
from typing import Any

import pytest

from bedrock_assets.emulator import Faults
from tests.emulator.lab import HAIKU, Lab, StartLab, connect_to, record
from tests.emulator.test_replies import REQUESTS, claude, converse, messages, reply

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "us.anthropic.claude-opus-4-6-v1"
GPT_OSS, R1, NOVA_2 = "openai.gpt-oss-120b-1:0", "us.deepseek.r1-v1:0", "us.amazon.nova-2-lite-v1:0"
TEXT = "The parcel never arrived. The customer wants a refund for the delivery fee."
SIZES = (1, 4, 12, 20, 30, 4000)
"""max_tokens that end before, inside and after the thought."""
N_ALL = 100


def shapes_by_size() -> dict[str, list[Any]]:
    """What each way to think leaves of an answer at each size: its blocks, or its whole text, and why it ended."""
    found: dict[str, list[Any]] = {"anthropic": [], "converse": [], "nova": [], "aloud": [], "r1": []}
    for size in SIZES:
        asked = {"thinking": {"type": "adaptive"}}
        body = reply(OPUS, claude(TEXT, size) | asked)
        found["anthropic"].append(([one["type"] for one in body["content"]], body["stop_reason"]))
        request = converse(TEXT) | {"inferenceConfig": {"maxTokens": size}}
        for name, model, more in (
            ("converse", OPUS, {"additionalModelRequestFields": asked}),
            ("nova", NOVA_2, {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled"}}}),
        ):
            body = reply(model, request | more, "Converse")
            blocks = body["output"]["message"]["content"]
            kinds = [key for one in blocks for key, value in one.items() if value is not None]
            found[name].append((kinds, body["stopReason"]))
        choice = reply(GPT_OSS, messages(TEXT, max_completion_tokens=size))["choices"][0]
        found["aloud"].append(("</reasoning>" in choice["message"]["content"], choice["finish_reason"]))
        prompt = f"<\uff5cbegin\u2581of\u2581sentence\uff5c><\uff5cUser\uff5c>{TEXT}<\uff5cAssistant\uff5c><think>\n"
        choice = reply(R1, {"prompt": prompt, "max_tokens": size})["choices"][0]
        found["r1"].append(("</think>" in choice["text"], choice["stop_reason"]))
    return found


def test_a_thought_takes_tokens_of_the_answer() -> None:
    """Below a size an answer is its thought alone, then a part of its text, then whole; the end says which."""
    found = shapes_by_size()
    failures: list[str] = []
    for name, thought, text, cut, end in (
        ("anthropic", ["thinking"], ["thinking", "text"], "max_tokens", "end_turn"),
        ("converse", ["reasoningContent"], ["reasoningContent", "text"], "max_tokens", "end_turn"),
        ("nova", ["reasoningContent"], ["reasoningContent", "text"], "max_tokens", "end_turn"),
        ("aloud", False, True, "length", "stop"),
        ("r1", False, True, "length", "stop"),
    ):
        states = list(dict.fromkeys(map(str, found[name])))
        if states != [str((thought, cut)), str((text, cut)), str((text, end))]:
            failures.append(f"{name}: {found[name]}")
    assert not failures


def test_thinking_is_the_models_own() -> None:
    """Without `thinking` a model that does not think by itself has text alone; omitted thoughts keep a signature."""
    assert [block["type"] for block in reply(SONNET, claude(TEXT))["content"]] == ["text"]
    shown = {"thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}}
    thought, answer = reply(SONNET, claude(TEXT, 2000) | shown)["content"]
    assert thought["thinking"] == ""
    assert thought["signature"]
    assert answer["text"] == reply(SONNET, claude(TEXT, 2000))["content"][0]["text"]


def test_faults_of_answers_in_a_job(start: StartLab) -> None:
    """Struck records are successful, and their output is a refusal, half a text or an error; the same ones again."""
    kinds = ("refusal", "content_filtered", "error_object")
    lab = start(faults=Faults(answer_fault_rate=0.6, answer_faults=kinds, token_counts="absent"))
    uri = lab.put("in/x.jsonl", [record(f"r{i}", f"{TEXT} {i}") for i in range(N_ALL)])
    first, second = lab.create("a-job", uri), lab.create("b-job", uri)
    assert lab.wait(first).get("successRecordCount") == N_ALL
    outputs = [line["modelOutput"] for line in lab.lines(first, "x.jsonl.out")]
    refused = [one for one in outputs if one.get("stop_reason") == "refusal"]
    assert {one["type"] for one in outputs} == {"message", "error"}
    assert {len(one["content"]) for one in refused} == {0, 1}
    assert len(refused) < N_ALL
    assert all("usage" not in one for one in outputs)
    assert lab.manifest(first)["outputTokenCount"] > 0
    lab.wait(second)
    assert lab.manifest(second)["successRecordCount"] == N_ALL


def test_faults_of_answers_in_every_family(still_lab: Lab) -> None:
    """Each text family refuses in its own words or members, and null tokens are null wherever they are told."""
    runtime = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    failures: list[str] = []
    for kind in ("refusal", "content_filtered", "error_object"):
        still_lab.emulator.set_faults(Faults(answer_fault_rate=1, answer_faults=(kind,), token_counts="nulls"))
        for family, (model_id, body, _) in REQUESTS.items():
            answer = runtime.invoke_model(modelId=model_id, body=json.dumps(body))["body"].read().decode()
            is_vector = "embed" in model_id
            told = '"content_filter"' if kind == "content_filtered" else "I can't help with that request."
            words = {
                "error_object": ('"error":{', told),
                "refusal": (told, '"stop_reason":"refusal"', "content_filtered", "CONTENT_FILTERED"),
            }.get(kind, (told, '"stop_reason":"refusal"', "_filtered", "_FILTERED", "I can't help"))
            if not is_vector and not any(word in answer for word in words):
                failures.append(f"{family}, {kind}: {answer}")
            if any(f'{name}":{digit}' in answer for name in ("okens", "oken_count") for digit in range(1, 10)):
                failures.append(f"{family}: tells tokens: {answer[-300:]}")
    still_lab.emulator.set_faults(Faults())
    runtime.close()
    assert not failures


def test_converse_has_no_error_object(still_lab: Lab) -> None:
    """On demand, Converse answers such a record with the model's error."""
    still_lab.emulator.set_faults(Faults(answer_fault_rate=1, answer_faults=("error_object",)))
    runtime = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    with pytest.raises(runtime.exceptions.ModelErrorException):
        runtime.converse(modelId=HAIKU, messages=converse(TEXT)["messages"])
    still_lab.emulator.set_faults(Faults())
    runtime.close()
