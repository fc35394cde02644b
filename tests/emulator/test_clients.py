"""botocore as an independent judge: every operation's answer is parsed by it and held against its own models."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import Shape
from botocore.validate import validate_parameters

from bedrock_assets.emulator.operations import SPECS
from tests.emulator.lab import HAIKU, Lab, StartLab, connect_to, record
from tests.emulator.test_on_demand import MESSAGES

Answers = dict[str, tuple[dict[str, Any], bytes, Shape]]
"""By operation: the parsed answer, the raw body, and the model's output shape."""

STREAMS = {"ConverseStream": "stream", "InvokeModelWithResponseStream": "body"}
"""Member of the answer that is a stream of events."""


def test_every_operation_is_called(answers: Answers) -> None:
    """The answers below are those of all operations that the emulator knows."""
    assert set(answers) == {spec.name for spec in SPECS.values()}


@pytest.mark.parametrize("name", [spec.name for spec in SPECS.values()])
def test_answers_fit_the_model(answers: Answers, name: str) -> None:
    """What the parser makes of an answer is what the model says: types, required members, enums, patterns, bounds."""
    parsed, raw, shape = answers[name]
    content = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
    if name == "InvokeModel":  # its body is the model's own, which AWS describes nowhere
        assert (json.loads(raw)["role"], content["contentType"]) == ("assistant", "application/json")
        return
    if name in STREAMS:
        events = list(content.pop(STREAMS[name]))
        kinds = shape.members[STREAMS[name]].members  # type: ignore[reportAttributeAccessIssue]
        for event in events:
            ((kind, payload),) = event.items()
            validate_parameters(payload, kinds[kind])
        assert len(events) > 3
        return
    validate_parameters(content, shape)
    assert list(_oddities(shape, json.loads(raw or b"{}"), name)) == []


def test_every_paginator(start: StartLab) -> None:
    """Each paginator that botocore has for an emulated operation walks through all pages, and ends."""
    lab = start(speed=1)
    names = {lab.create(f"job-{i}") for i in range(5)}
    jobs = _pages(lab.client, "list_model_invocation_jobs", "invocationJobSummaries")
    assert {job["jobArn"] for job in jobs} == names
    quotas = connect_to("service-quotas", lab.emulator.endpoint_url)
    profiles = _pages(lab.client, "list_inference_profiles", "inferenceProfileSummaries")
    assert len({profile["inferenceProfileId"] for profile in profiles}) == len(profiles) > 5
    vectors = lab.client.list_foundation_models(byProvider="Amazon", byOutputModality="EMBEDDING")["modelSummaries"]
    assert {model["modelId"].partition("embed")[1] for model in vectors} == {"embed"}
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        found = _pages(quotas, operation, "Quotas", ServiceCode="bedrock")
        assert len({quota["QuotaCode"] for quota in found}) == len(found) > 5
    quotas.close()


def _pages(client: Any, operation: str, member: str, **query: str) -> list[dict[str, Any]]:
    pages = list(client.get_paginator(operation).paginate(**query, PaginationConfig={"PageSize": 2}))
    assert len(pages) > 1
    return [item for page in pages for item in page[member]]


@pytest.fixture(scope="module")
def answers(still_lab: Lab) -> Iterator[Answers]:
    """Call every operation once."""
    found: Answers = {}
    url = still_lab.emulator.endpoint_url
    clients = {name: connect_to(name, url) for name in ("bedrock", "bedrock-runtime", "service-quotas")}

    def keep(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
        found[operation_model.name] = ({}, response_dict["body"], operation_model.output_shape)

    def call(service: str, method: str, **members: Any) -> dict[str, Any]:
        client = clients[service]
        parsed: dict[str, Any] = getattr(client, method)(**members)
        name = client.meta.method_to_api_mapping[method]
        _, raw, shape = found[name]
        found[name] = (parsed, parsed["body"].read() if name == "InvokeModel" else raw, shape)
        return parsed

    for client in clients.values():
        client.meta.events.register("before-parse", keep)
    still_lab.client = clients["bedrock"]
    arn = still_lab.create("a-job", tags=[{"key": "team", "value": "claims"}], timeoutDurationInHours=24)
    found["CreateModelInvocationJob"] = ({"jobArn": arn}, *found["CreateModelInvocationJob"][1:])
    call("bedrock", "get_model_invocation_job", jobIdentifier=arn)
    call("bedrock", "list_model_invocation_jobs", maxResults=1, sortBy="CreationTime", statusEquals="Submitted")
    call("bedrock", "tag_resource", resourceARN=arn, tags=[{"key": "a", "value": "b"}])
    call("bedrock", "untag_resource", resourceARN=arn, tagKeys=["a"])
    call("bedrock", "list_tags_for_resource", resourceARN=arn)
    call("bedrock", "stop_model_invocation_job", jobIdentifier=arn)
    call("bedrock", "list_foundation_models")
    call("bedrock", "get_foundation_model", modelIdentifier="amazon.nova-2-lite-v1:0")
    profiles = call("bedrock", "list_inference_profiles", typeEquals="SYSTEM_DEFINED")["inferenceProfileSummaries"]
    call("bedrock", "get_inference_profile", inferenceProfileIdentifier=profiles[0]["inferenceProfileArn"])
    call("bedrock-runtime", "invoke_model", modelId=HAIKU, body=json.dumps(record("a", "Hi.")["modelInput"]))
    call("bedrock-runtime", "converse", modelId=HAIKU, messages=MESSAGES)
    call("bedrock-runtime", "converse_stream", modelId=HAIKU, messages=MESSAGES)
    body = json.dumps(record("a", "Hi.")["modelInput"])
    call("bedrock-runtime", "invoke_model_with_response_stream", modelId=HAIKU, body=body)
    call("bedrock-runtime", "count_tokens", modelId=HAIKU, input={"converse": {"messages": MESSAGES}})
    page = call("service-quotas", "list_service_quotas", ServiceCode="bedrock", MaxResults=2)
    call("service-quotas", "list_aws_default_service_quotas", ServiceCode="bedrock", MaxResults=2)
    quota = {"ServiceCode": "bedrock", "QuotaCode": page["Quotas"][0]["QuotaCode"]}
    call("service-quotas", "get_service_quota", **quota)
    call("service-quotas", "get_aws_default_service_quota", **quota)
    yield found
    for client in clients.values():
        client.close()


def _oddities(shape: Shape | None, value: Any, path: str) -> Iterator[str]:
    """What the model does not allow in a raw answer: unknown members, nulls, foreign enum values, broken patterns."""
    if value is None or shape is None:
        yield from [] if value in (None, {}) and shape is None else [f"{path} is {value}"]
    elif shape.type_name == "structure":
        yield from (f"{path}.{name} is unknown" for name in value if name not in shape.members)
        for name in value.keys() & shape.members.keys():
            yield from _oddities(shape.members[name], value[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            yield from _oddities(shape.member, item, f"{path}[]")
    elif shape.type_name == "string":
        yield from _string_oddities(shape, value, path)


def _string_oddities(shape: Shape, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{path} is {value}, not one of {shape.enum}"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield f"{path} is {value}, which does not match {pattern}"
    if not shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", len(value)):
        yield f"{path} is of a wrong length"
