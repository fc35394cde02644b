"""The on-demand lane: InvokeModel and Converse through boto3, the same answers as in batch."""

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.emulator.lab import HAIKU, TITAN_EMBED, Lab, StartLab, connect_to, record, records
from tests.emulator.test_faults import error_code
from tests.emulator.test_replies import REQUESTS

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": [{"text": "The parcel never arrived. Summarise."}]}]
ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}"


@pytest.fixture
def runtime(slow_lab: Lab) -> Iterator[Any]:
    """A client of bedrock-runtime at the lab's emulator."""
    client = connect_to("bedrock-runtime", slow_lab.emulator.endpoint_url)
    yield client
    client.close()


@pytest.fixture
def still_runtime(still_lab: Lab) -> Iterator[Any]:
    """A client at the emulator that the module shares."""
    client = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    yield client
    client.close()


def invoke(runtime: Any, body: Any, model_id: str = HAIKU) -> dict[str, Any]:
    """InvokeModel's answer, parsed."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return json.loads(runtime.invoke_model(modelId=model_id, body=text)["body"].read())


def counts(lab: Lab) -> dict[tuple[str, str], tuple[int, int]]:
    """(answered, distinct) by operation and model."""
    return {(one.operation, one.model_id): (one.answered, one.distinct) for one in lab.emulator.invocations()}


def test_invoke_gives_the_batch_answer(lab: Lab) -> None:
    """A record's modelInput gets, on demand, the very modelOutput that it gets in a job, and its tokens in headers."""
    arn = lab.create("a-job")
    lab.wait(arn)
    outputs = {line["recordId"]: line["modelOutput"] for line in lab.lines(arn)}
    runtime = connect_to("bedrock-runtime", lab.emulator.endpoint_url)
    for row in records(20):
        response = runtime.invoke_model(modelId=HAIKU, body=json.dumps(row["modelInput"]))
        body = json.loads(response["body"].read())
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        assert body == outputs[row["recordId"]]
        assert int(headers["x-amzn-bedrock-input-token-count"]) == body["usage"]["input_tokens"]
        assert int(headers["x-amzn-bedrock-output-token-count"]) == body["usage"]["output_tokens"]
        assert response["contentType"] == "application/json"
    runtime.close()


def test_converse_gives_the_batch_answer_without_nulls(lab: Lab) -> None:
    """Converse answers as a Converse job does, with no null member, and with metrics."""
    rows = [{"recordId": "one", "modelInput": {"messages": MESSAGES}}]
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows), modelInvocationType="Converse")
    lab.wait(arn)
    (line,) = lab.lines(arn, "x.jsonl.out")
    (block,) = line["modelOutput"]["output"]["message"]["content"]
    runtime = connect_to("bedrock-runtime", lab.emulator.endpoint_url)
    answer = runtime.converse(modelId=HAIKU, messages=MESSAGES)
    runtime.close()
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": block["text"]}]}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"] == {k: v for k, v in line["modelOutput"]["usage"].items() if v is not None}
    assert answer["metrics"]["latencyMs"] >= 0


@pytest.mark.parametrize("family", REQUESTS)
def test_every_family(still_runtime: Any, family: str) -> None:
    """Each family answers InvokeModel in its own format."""
    model_id, body, keys = REQUESTS[family]
    assert set(invoke(still_runtime, body, model_id)) == keys


@pytest.mark.parametrize(
    "model_id", [HAIKU, f"us.{HAIKU}", ARN, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us." + HAIKU]
)
def test_model_identifiers(runtime: Any, slow_lab: Lab, model_id: str) -> None:
    """Ids, profiles and ARNs arrive percent-encoded, are understood, and are counted as they were spelled."""
    assert invoke(runtime, record("a", "Hi.")["modelInput"], model_id)["role"] == "assistant"
    runtime.converse(modelId=model_id, messages=MESSAGES)
    assert counts(slow_lab) == {("InvokeModel", model_id): (1, 1), ("Converse", model_id): (1, 1)}


@pytest.mark.parametrize(
    ("body", "model_id", "message"),
    [
        ("{", HAIKU, "Malformed input request"),
        ("[]", HAIKU, "Malformed input request"),
        ("", HAIKU, "Malformed input request"),
        ({"max_tokens": 5}, HAIKU, "anthropic_version: Field required"),
        ({"inputText": ""}, TITAN_EMBED, "minLength"),
        ({"inputText": "a"}, "stability.image-v1:0", "model identifier is invalid"),
        ({"inputText": "a"}, "no such model", "at 'modelId' failed to satisfy constraint"),
    ],
)
def test_what_invoke_refuses(still_runtime: Any, still_lab: Lab, body: Any, model_id: str, message: str) -> None:
    """A request that the model refuses is a ValidationException with the model's words, and is not billed."""
    before = counts(still_lab)
    with pytest.raises(still_runtime.exceptions.ValidationException, match=message):
        invoke(still_runtime, body, model_id)
    assert counts(still_lab) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"messages": []}, "at least one message"),
        ({"modelId": TITAN_EMBED}, "doesn't support the model"),
        ({"messages": [{"role": "robot", "content": [{"text": "Hi."}]}]}, "at 'messages.1.member.role'"),
        ({"inferenceConfig": {"temperature": 1.5}}, "at 'inferenceConfig.temperature'"),
        ({"inferenceConfig": {"maxTokens": 0}}, "maxTokens"),
        ({"requestMetadata": {"k|": "v"}}, "requestMetadata"),
        ({"performanceConfig": {"latency": "warp"}}, "enum value set"),
    ],
)
def test_what_converse_refuses(still_lab: Lab, change: dict[str, Any], message: str) -> None:
    """Bounds, enums and patterns of Converse's service model hold, also where boto3 would not look."""
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=still_lab.emulator.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=boto3.session.Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(client.exceptions.ValidationException, match=message):
        client.converse(**{"modelId": HAIKU, "messages": MESSAGES, **change})
    client.close()


def test_converse_takes_documents(still_runtime: Any) -> None:
    """Members that hold free-form JSON, such as a tool's schema, pass as they are."""
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "x": [1, None, {"y": 1.5}]}
    tools = [{"toolSpec": {"name": "look", "description": "Looks.", "inputSchema": {"json": schema}}}]
    answer = still_runtime.converse(
        modelId=HAIKU,
        messages=MESSAGES,
        toolConfig={"tools": tools},
        additionalModelRequestFields={"top_k": 5, "deep": [None, {"a": True}]},
        requestMetadata={"team": "claims"},
    )
    assert answer["output"]["message"]["content"]


@pytest.mark.parametrize("operation", ["InvokeModel", "Converse"])
@pytest.mark.parametrize(
    ("faults", "code", "status"),
    [
        ({"throttle_rate": 1}, "ThrottlingException", 429),
        ({"server_error_rate": 1}, "InternalServerException", 500),
        ({"access_denied": True}, "AccessDeniedException", 403),
        ({"model_error_rate": 1}, "ModelTimeoutException", 408),
        ({"model_error_rate": 1, "model_error": "ModelErrorException"}, "ModelErrorException", 424),
        ({"model_error_rate": 1, "model_error": "ModelNotReadyException"}, "ModelNotReadyException", 429),
        ({"model_error_rate": 1, "model_error": "ServiceUnavailableException"}, "ServiceUnavailableException", 503),
        ({"record_error_rate": 1, "record_error_code": 400}, "ValidationException", 400),
        ({"record_error_rate": 1, "record_error_code": "429"}, "ThrottlingException", 429),
        ({"record_error_rate": 1}, "InternalServerException", 500),
    ],
)
def test_faults(still_runtime: Any, still_lab: Lab, operation: str, faults: Any, code: str, status: int) -> None:
    """Each fault gives the error that bedrock-runtime models, and nothing is billed; others are spared."""
    before = counts(still_lab)
    still_lab.faults(**faults, only_operations=[operation], only_models="haiku")
    with pytest.raises(ClientError) as error:
        ask(still_runtime, operation)
    assert (error_code(error), error.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert code in dir(still_runtime.exceptions)
    assert counts(still_lab) == before
    ask(still_runtime, "Converse" if operation == "InvokeModel" else "InvokeModel")
    ask(still_runtime, operation, "amazon.nova-lite-v1:0")
    answered = [sum(n for n, _ in count.values()) for count in (before, counts(still_lab))]
    still_lab.faults()
    assert answered[1] - answered[0] == 2


def ask(runtime: Any, operation: str, model_id: str = HAIKU) -> None:
    """One call of either operation that every model of these tests answers."""
    if operation == "Converse":
        runtime.converse(modelId=model_id, messages=MESSAGES)
    else:
        invoke(runtime, record("a", "Hi.")["modelInput"] if model_id == HAIKU else {"messages": MESSAGES}, model_id)


def test_a_lost_response_is_billed(runtime: Any, slow_lab: Lab) -> None:
    """A response that is lost was counted; sending the request again counts it twice, and the counts show it."""
    slow_lab.faults(lost_response_rate=1)
    with pytest.raises(ClientError, match="InternalServerException"):
        ask(runtime, "InvokeModel")
    assert counts(slow_lab) == {("InvokeModel", HAIKU): (1, 1)}
    slow_lab.faults()
    ask(runtime, "InvokeModel")
    assert counts(slow_lab) == {("InvokeModel", HAIKU): (2, 1)}


def test_record_errors_are_the_requests_own(runtime: Any, slow_lab: Lab) -> None:
    """Without `retryable` the same requests fail however often they are sent; with it another try may succeed."""

    def failed() -> set[int]:
        found: set[int] = set()
        for i in range(60):
            try:
                invoke(runtime, record("a", f"Call {i}.")["modelInput"])
            except ClientError:
                found.add(i)
        return found

    slow_lab.faults(record_error_rate=0.3, record_error_code=400)
    first = failed()
    assert 5 < len(first) < 35
    assert failed() == first
    slow_lab.faults(record_error_rate=0.3, record_error_code=503, record_error_retryable=True)
    assert failed() != failed()


def test_latency_holds_up_one_call_only(slow_lab: Lab) -> None:
    """Calls that wait for latency_s wait side by side."""
    slow_lab.faults(latency_s=0.3)
    client = connect_to("bedrock-runtime", slow_lab.emulator.endpoint_url)
    start = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: ask(client, "InvokeModel"), range(5)))
    assert 0.3 <= time.monotonic() - start < 1.2
    client.close()
    assert counts(slow_lab) == {("InvokeModel", HAIKU): (5, 1)}


def test_counts_survive_a_restart(start: StartLab) -> None:
    """What was answered stays counted when another emulator takes up the database; HTTP shows the same numbers."""
    first, second = start(), start()
    runtime = connect_to("bedrock-runtime", first.emulator.endpoint_url)
    for text in ("one", "two", "two"):
        invoke(runtime, record("a", text)["modelInput"])
    runtime.close()
    with urllib.request.urlopen(f"{second.emulator.endpoint_url}/admin/invocations") as response:
        (found,) = json.load(response)["invocations"]
    assert (found["operation"], found["modelId"]) == ("InvokeModel", HAIKU)
    assert (found["answered"], found["distinct"]) == (3, 2)
    with urllib.request.urlopen(second.emulator.endpoint_url) as response:
        assert f"3 InvokeModel of {HAIKU} answered, 2 distinct" in response.read().decode()
    assert found["inputTokens"] > 0
    assert found["outputTokens"] > 0


def test_the_endpoint_comes_from_the_environment(slow_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmodified code finds the emulator through AWS_ENDPOINT_URL_BEDROCK_RUNTIME."""
    for name, value in (("ENDPOINT_URL_BEDROCK_RUNTIME", slow_lab.emulator.endpoint_url), ("REGION", "eu-west-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    client = boto3.Session().client("bedrock-runtime", region_name="eu-west-1")
    client.converse(modelId=HAIKU, messages=MESSAGES)
    client.close()
    assert counts(slow_lab) == {("Converse", HAIKU): (1, 1)}


def test_tokens_are_counted_for_nothing(runtime: Any, slow_lab: Lab) -> None:
    """CountTokens says what the same request is billed, by either body, and is no call to the model."""
    body = record("a", "Hi, how long is this?")["modelInput"]
    counted = runtime.count_tokens(modelId=HAIKU, input={"invokeModel": {"body": json.dumps(body)}})["inputTokens"]
    assert counted == invoke(runtime, body)["usage"]["input_tokens"]
    converse = {"converse": {"messages": MESSAGES, "system": [{"text": "Be short."}]}}
    counted = runtime.count_tokens(modelId=ARN, input=converse)["inputTokens"]
    assert counted == runtime.converse(modelId=HAIKU, **converse["converse"])["usage"]["inputTokens"]
    assert counts(slow_lab) == {("InvokeModel", HAIKU): (1, 1), ("Converse", HAIKU): (1, 1)}


@pytest.mark.parametrize("model_id", [f"us.{HAIKU}", "amazon.nova-lite-v1:0", TITAN_EMBED, f"x/us.{HAIKU}"])
def test_few_models_count_tokens(still_runtime: Any, model_id: str) -> None:
    """Other models, and inference profiles, are refused with AWS's words."""
    with pytest.raises(ClientError, match="doesn't support counting tokens") as error:
        still_runtime.count_tokens(modelId=model_id, input={"converse": {"messages": MESSAGES}})
    assert error_code(error) == "ValidationException"


@pytest.mark.parametrize("body", ["no JSON", json.dumps({"messages": []})])
def test_what_the_model_would_refuse_is_not_counted(still_runtime: Any, body: str) -> None:
    """A request that InvokeModel refuses is refused here too."""
    with pytest.raises(ClientError) as error:
        still_runtime.count_tokens(modelId=HAIKU, input={"invokeModel": {"body": body}})
    assert error_code(error) == "ValidationException"
