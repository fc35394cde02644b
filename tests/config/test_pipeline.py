"""What a defs.yaml may say, and what is refused with the key in its error."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from bedrock_assets.config.pipeline import PipelineSpec

MINIMAL: dict[str, Any] = {
    "name": "calls",
    "source": {"path": "calls.csv"},
    "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
    "task": {"text": {"prompt": "Say {text}"}},
}


def error_of(**changes: Any) -> tuple[str, str]:
    """Key and message of the only error of a spec."""
    with pytest.raises(ValidationError) as raised:
        PipelineSpec.model_validate(MINIMAL | changes)
    (error,) = raised.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def test_the_defaults() -> None:
    """A minimal pipeline has the quotas and settings to assume in 2026."""
    spec = PipelineSpec.model_validate(MINIMAL)
    assert (spec.limits.max_records_per_job, spec.limits.min_records_per_job, spec.limits.max_jobs) == (50_000, 100, 20)
    assert (spec.limits.max_bytes_per_file, spec.timeout_hours, spec.max_attempts) == (1_000_000_000, 72, 3)
    assert (spec.on_small, spec.on_cancel, spec.pool, spec.output_prefix) == ("on_demand", "stop", "bedrock_batch", "")


@pytest.mark.parametrize(
    ("changes", "region", "told"),
    [
        ({"modell": "x"}, "", "unknown key 'modell'; did you mean model?"),
        ({"source": {"path": "a.csv", "idcolumn": "x"}}, "source", "'idcolumn'; did you mean id_column?"),
        (
            {"source": {"huggingface": {"id": "a/b", "splits": "x"}}},
            "source.huggingface",
            "'splits'; did you mean split?",
        ),
        ({"task": {"text": {"prompt": "x", "maxTokens": 5}}}, "task.text", "'maxTokens'; did you mean max_tokens?"),
        (
            {"task": {"embedding": {"column": "x", "size": 5}}},
            "task.embedding",
            "dimensions, truncate, normalize",
        ),
        ({"limits": {"max_record_per_job": 5}}, "limits", "did you mean max_records_per_job?"),
    ],
)
def test_unknown_keys_are_refused(changes: dict[str, Any], region: str, told: str) -> None:
    """A misspelt key, at any depth, is refused with its place and the key that was meant, or those that there are."""
    found, message = error_of(**changes)
    assert found == region
    assert told in message


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": "Calls"}, "name"),
        ({"name": "a" * 41}, "name"),
        ({"name": "../calls"}, "name"),
        ({"task": {"text": {"prompt_id": "../secret"}}}, "task.text.prompt_id"),
        ({"task": {"text": {"prompt": "x", "temperature": 1.5}}}, "task.text.temperature"),
        ({"task": {"text": {"prompt": "x", "max_tokens": 0}}}, "task.text.max_tokens"),
        ({"limits": {"max_jobs": 0}}, "limits.max_jobs"),
        ({"timeout_hours": 23}, "timeout_hours"),
        ({"timeout_hours": 169}, "timeout_hours"),
        ({"max_attempts": 10}, "max_attempts"),
        ({"output_prefix": "a-"}, "output_prefix"),
        ({"reuse_answers_days": 999_999_999_999}, "reuse_answers_days"),
        ({"on_small": "later"}, "on_small"),
    ],
)
def test_values_out_of_bounds_are_refused(changes: dict[str, Any], key: str) -> None:
    """A name that is no folder, a number that Bedrock does not take, a choice that is none: each by its key."""
    assert error_of(**changes)[0] == key


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"source": {}},
            "name exactly one of path, files, sql, delta, iceberg, huggingface, chitchat, pipeline, asset; found none",
        ),
        ({"source": {"path": "a.csv", "chitchat": {}}}, "found ['path', 'chitchat']"),
        ({"task": {}}, "name exactly one of text, embedding, classify, "),
        (
            {"task": {"text": {"prompt": "x"}, "embedding": {"column": "y"}}},
            "name exactly one of text, embedding, classify, ",
        ),
        ({"task": {"text": {}}}, "name exactly one of prompt_id and prompt"),
        ({"task": {"text": {"prompt": "x", "prompt_id": "y"}}}, "name exactly one of prompt_id and prompt"),
        ({"repair": 1}, "repair and schema_mode need a `schema`, and there is none"),
        ({"schema_mode": "tool"}, "and there is none"),
        ({"limits": {"min_records_per_job": 101, "max_records_per_job": 100}}, "min_records_per_job (101) is above"),
    ],
)
def test_one_of_several_is_named(changes: dict[str, Any], told: str) -> None:
    """Where exactly one thing is wanted, none and two are refused with what there is to choose from."""
    assert told in error_of(**changes)[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"task": {"text": {"prompt": "cut \\ud83d {x}"}}},
        {"task": {"text": {"prompt": "{x}", "stop_sequences": ["a", "\\ude00"]}}},
        {"schema": {"a": {"enum": ["x", "\\ud83d"]}}},
        {"schema": {"\\ud83d": "string"}},
        {"description": "\\ud83d"},
    ],
)
def test_half_a_character_is_refused(changes: dict[str, Any]) -> None:
    """A lone surrogate, which YAML can write and UTF-8 cannot, is refused wherever it is."""
    halved = json.loads(json.dumps(changes).replace("\\\\ud", "\\ud"))
    assert "is half of a character, which cannot be sent" in error_of(**halved)[1]
