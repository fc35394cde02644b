"""The keys `thinking`, `effort`, `top_k` and `request` in the records themselves."""

import json
from datetime import date
from typing import Any

import polars as pl
import pytest

from bedrock_assets.errors import ConfigError, PromptError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_CODE, LINE
from tests.labs.stages import HAIKU, TITAN, MakePipeline

ROWS = pl.DataFrame({"id": ["a", "b", "c"], "text": ["one", "two", "three"], "user": ['Zoë "Z"', "u2", None]})
OPUS_5, NOVA_2 = "us.anthropic.claude-opus-5", "us.amazon.nova-2-lite-v1:0"
OSS, OPUS_4_5 = "openai.gpt-oss-20b-1:0", "us.anthropic.claude-opus-4-5-20251101-v1:0"


def requests(pipeline: Pipeline) -> list[dict[str, Any] | None]:
    """The `modelInput` of each row, None where there is no record."""
    made = pipeline.records.make(ROWS.with_columns(record_id="id"))
    return [None if line is None else json.loads(line)["modelInput"] for line in made[LINE]]


def text(**keys: Any) -> dict[str, Any]:
    """A text task with these keys."""
    return {"text": {"prompt": "Say {text}", **keys}}


LOW = {"output_config": {"effort": "low"}}
CASES: list[tuple[str, str | None, dict[str, Any], dict[str, Any]]] = [
    (HAIKU, None, {"thinking": 1024}, {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1536}),
    (HAIKU, None, {"top_k": 5}, {"top_k": 5, "max_tokens": 512}),
    (OPUS_5, None, {"thinking": True, "effort": "low"}, {"thinking": {"type": "adaptive"}, "max_tokens": 8192, **LOW}),
    (OPUS_5, None, {"thinking": False}, {"thinking": {"type": "disabled"}, "max_tokens": 512}),
    (OPUS_5, "Converse", {"effort": "low"}, {"additionalModelRequestFields": LOW}),
    (
        NOVA_2,
        None,
        {"effort": "low", "top_k": 7},
        {
            "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"},
            "inferenceConfig": {"maxTokens": 8192, "topK": 7},
        },
    ),
    (NOVA_2, None, {"effort": "high", "stop_sequences": ["END"]}, {"inferenceConfig": {"stopSequences": ["END"]}}),
    (
        NOVA_2,
        "Converse",
        {"top_k": 7},
        {
            "additionalModelRequestFields": {"inferenceConfig": {"topK": 7}},
            "inferenceConfig": {"maxTokens": 512},
        },
    ),
    (OSS, None, {"effort": "low"}, {"reasoning_effort": "low", "max_completion_tokens": 8192}),
    (OSS, "Converse", {"effort": "low"}, {"additionalModelRequestFields": {"reasoning_effort": "low"}}),
    ("mistral.mistral-7b-instruct-v0:2", None, {"top_k": 9}, {"top_k": 9}),
]


@pytest.mark.parametrize(("model", "invocation", "keys", "expected"), CASES)
def test_parameters_reach_the_request(
    make_pipeline: MakePipeline, model: str, invocation: str | None, keys: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Each under the model's own name, in the place where the request has it."""
    pipeline = make_pipeline(ROWS, id_column="id", model=model, model_invocation_type=invocation, task=text(**keys))
    request = requests(pipeline)[0]
    assert request is not None
    assert {name: request.get(name) for name in expected} == expected


def test_effort_stands_beside_a_schema(make_pipeline: MakePipeline) -> None:
    """Both are parts of `output_config`."""
    schema = {"score": "integer"}
    pipeline = make_pipeline(ROWS, model=OPUS_4_5, task=text(effort="low"), schema=schema)
    request = requests(pipeline)[0]
    assert request is not None
    assert set(request["output_config"]) == {"format", "effort"}


def test_further_keys_are_merged(make_pipeline: MakePipeline) -> None:
    """Deeply, with texts as templates over the columns; a null in one makes an error row."""
    further = {
        "metadata": {"user_id": "{user}/{{x}}"},
        "inferenceConfig": {"seed": 7, "list": [1, "{text}", {"a": None}]},
    }
    found = requests(make_pipeline(ROWS, id_column="id", model=NOVA_2, task=text(request=further)))
    first = found[0]
    assert first is not None
    assert first["metadata"] == {"user_id": 'Zoë "Z"/{x}'}
    assert first["inferenceConfig"] == {"maxTokens": 512, "seed": 7, "list": [1, "one", {}]}
    assert found[2] is None
    pipeline = make_pipeline(ROWS, id_column="id", model=NOVA_2, task=text(request=further))
    made = pipeline.records.make(ROWS.with_columns(record_id="id"), keyed=True)
    assert made[ERROR_CODE].to_list() == [None, None, "null_value"]
    assert pipeline.records.columns == ["text", "user"]


def test_further_keys_of_an_embedding(make_pipeline: MakePipeline) -> None:
    """Cohere's `truncate` has no key of ours."""
    task = {"embedding": {"column": "text", "request": {"truncate": "END"}}}
    (first, *_) = requests(make_pipeline(ROWS, id_column="id", model="cohere.embed-english-v3", task=task))
    assert first == {"texts": ["one"], "input_type": "search_document", "truncate": "END"}


def test_they_decide_the_answer(make_pipeline: MakePipeline) -> None:
    """Rows that differ in a further key are other records, and another key is another configuration."""
    twins = pl.DataFrame({"id": ["a", "b"], "text": ["x", "x"], "user": ["u", "v"]}).with_columns(record_id="id")
    keys = [
        make_pipeline(ROWS, id_column="id", task=text(**more)).records.make(twins, keyed=True)["__key"].to_list()
        for more in ({}, {"request": {"metadata": {"user_id": "{user}"}}}, {"request": {"metadata": {"user_id": "u"}}})
    ]
    assert [len(set(pair)) for pair in keys] == [1, 2, 1]
    assert len({pair[0] for pair in keys}) == 3
    plain = make_pipeline(ROWS, task=text()).workload
    other = make_pipeline(ROWS, task=text(request={"metadata": {"user_id": "u"}})).workload
    assert other.changed_since(plain.configuration) == ["parameters"]


@pytest.mark.parametrize(
    ("model", "task", "told"),
    [
        (
            HAIKU,
            text(request={"messages": []}),
            r"request\.messages: the request of family anthropic has this key already",
        ),
        (HAIKU, text(request={"max_tokens": 3}), r"request\.max_tokens"),
        (HAIKU, text(request={"temperature": 0.5}), r"request\.temperature: .* set it by the task's own key"),
        (NOVA_2, text(request={"inferenceConfig": {"maxTokens": 3}}), r"request\.inferenceConfig\.maxTokens"),
        (HAIKU, text(request={"metadata": {"user_id": "{user"}}), r"request\.metadata\.user_id"),
        (HAIKU, text(request={"metadata": {"user_id": "{nobody}"}}), "column 'nobody' named in prompt"),
        (TITAN, {"embedding": {"column": "text", "request": {"inputText": "x"}}}, r"request\.inputText"),
    ],
)
def test_keys_that_are_not_free(make_pipeline: MakePipeline, model: str, task: dict[str, Any], told: str) -> None:
    """A key that the task or the family writes, and a text that is no template, are refused by their path."""
    with pytest.raises((ConfigError, PromptError), match=told):
        make_pipeline(ROWS, model=model, task=task).check_columns(ROWS.columns)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (date(2026, 1, 1), r"request\.x: '2026-01-01' \(date\) is no value of JSON; put it in quotes"),
        (float("nan"), r"request\.x: 'nan' \(float\)"),
        ([float("inf")], r"request\.x\[0\]: 'inf'"),
        (b"hi", r"request\.x: .* \(bytes\)"),
        ({1: "a"}, r"request\.x: key 1 is no text; put it in quotes"),
    ],
)
def test_values_of_yaml_that_are_not_json(make_pipeline: MakePipeline, value: Any, told: str) -> None:
    """A date, an infinite number and a key that is a number have no JSON; they are refused by their path."""
    with pytest.raises(ConfigError, match=told):
        make_pipeline(ROWS, task=text(request={"x": value}))


def test_keys_that_are_no_part_of_a_record(make_pipeline: MakePipeline) -> None:
    """The model is an argument of a call, not of a Converse record."""
    with pytest.raises(ConfigError, match=r"request\.modelId: it is no part of a record"):
        make_pipeline(ROWS, model_invocation_type="Converse", task=text(request={"modelId": "x"}))


def test_parts_of_a_key_are_told_apart(make_pipeline: MakePipeline) -> None:
    """Rows whose texts hold our separator are other records, and have other keys."""
    rows = pl.DataFrame({"id": ["a", "b"], "text": ["x\x1ey", "x"], "user": ["z", "y\x1ez"]})
    task = {"text": {"prompt": "{text}", "request": {"metadata": {"user_id": "{user}"}}}}
    made = make_pipeline(rows, id_column="id", task=task).records.make(rows.with_columns(record_id="id"), keyed=True)
    assert made["__key"].n_unique() == 2


def test_ready_tasks_are_configured_as_ever(make_pipeline: MakePipeline) -> None:
    """The digest of a ready task's parameters is that of earlier versions: jobs in flight stay the pipeline's own."""
    task = {"classify": {"text": "{text}", "labels": ["a", "b"]}}
    workload = make_pipeline(ROWS, model="us.amazon.nova-lite-v1:0", task=task).workload
    assert workload.records is not None
    assert set(workload.records.settings) == {
        *("system", "max_tokens", "temperature", "top_p", "stop_sequences", "null_default", "images"),
        *("special_tokens", "schema_mode", "schema"),
    }


@pytest.mark.parametrize("wrong", [[1], "x", 3])
def test_a_request_is_an_object(make_pipeline: MakePipeline, wrong: Any) -> None:
    """Anything else is refused with the key."""
    with pytest.raises(ValueError, match="request"):
        make_pipeline(ROWS, task=text(request=wrong))
