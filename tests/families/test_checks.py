"""What a model cannot do is refused when the YAML is loaded, with the key, the cause and the cure."""

from datetime import date
from typing import Any

import pytest

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import ConfigError, RetiredModel
from bedrock_assets.families import choose_schema_mode, family_of, notices, require_living, task_of
from bedrock_assets.models import Model

OPUS_5, HAIKU_4_5 = "us.anthropic.claude-opus-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0"
CLAUDE_3, NOVA_2 = "anthropic.claude-3-haiku-20240307-v1:0", "us.amazon.nova-2-lite-v1:0"
SONNET_4_6, LLAMA = "global.anthropic.claude-sonnet-4-6", "us.meta.llama3-3-70b-instruct-v1:0"
TODAY = date(2026, 11, 26)
CURE = "if the model takes it today, say so under `model_facts:`"


def spec(model: str, task: dict[str, Any] | None = None, **settings: Any) -> PipelineSpec:
    """A pipeline of one model, with these keys of a text task."""
    base = {
        "name": "calls",
        "source": {"path": "x.csv"},
        "model": model,
        "task": {"text": {"prompt": "x", **(task or {})}},
    }
    return PipelineSpec.model_validate(base | settings)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (OPUS_5, {"temperature": 0}, "temperature: Claude Opus 5 refuses temperature in every record; remove it"),
    (OPUS_5, {"top_p": 0.9}, "top_p: Claude Opus 5 refuses top_p"),
    (OPUS_5, {"top_k": 5}, "top_k: Claude Opus 5 refuses top_k"),
    (OPUS_5, {"request": {"temperature": 0.5}}, "request: Claude Opus 5 refuses temperature"),
    (OPUS_5, {"max_tokens": 128_001}, "max_tokens: 128,001 is above the 128,000 that Claude Opus 5 writes at most"),
    (OPUS_5, {"thinking": 9000}, "thinking: Claude Opus 5 takes no number of tokens; write `thinking: true`"),
    (OPUS_5, {"effort": "highest"}, "effort: Claude Opus 5 has no 'highest'; choose one of: low, medium, high"),
    (HAIKU_4_5, {"temperature": 0, "top_p": 0.9}, "temperature and top_p are both set"),
    (HAIKU_4_5, {"thinking": 2000, "max_tokens": 2000}, "its 2000 tokens are part of max_tokens, which is 2000"),
    (HAIKU_4_5, {"thinking": True, "temperature": 0.5}, "temperature: Claude does not take it while it thinks"),
    (HAIKU_4_5, {"effort": "low"}, "effort: Claude Haiku 4.5 has no 'low'; remove it"),
    (HAIKU_4_5, {"thinking": 100}, "thinking: Claude takes at least 1024 tokens"),
    (CLAUDE_3, {"thinking": True}, "thinking: Claude 3 Haiku cannot think; remove it"),
    (CLAUDE_3, {"max_tokens": 4097}, "max_tokens: 4,097 is above the 4,096"),
    (NOVA_2, {"thinking": 5000}, "thinking: Nova takes no number of tokens"),
    (NOVA_2, {"effort": "high", "temperature": 0}, "temperature: Nova 2 does not take it with `effort: high`"),
    (LLAMA, {"stop_sequences": ["x"]}, r"stop_sequences: the request of Llama 3.3 70B Instruct \(llama\) has no such"),
    (LLAMA, {"effort": "low"}, "write the model's own name for it under `request:`"),
    ("openai.gpt-oss-20b-1:0", {"thinking": False}, r"thinking: the request of .* has no such parameter"),
    ("us.anthropic.claude-fable-5", {}, "model: Claude Fable 5 cannot run in a batch job; choose another one"),
]


@pytest.mark.parametrize("invocation", [None, "Converse"])
@pytest.mark.parametrize(("model", "task", "told"), REFUSED)
def test_refused_at_load(model: str, task: dict[str, Any], told: str, invocation: str | None) -> None:
    """Under both ways to invoke a model; Converse takes stop sequences for every model."""
    if invocation and "stop_sequences" in task:
        return
    with pytest.raises(ConfigError, match=told):
        family_of(spec(model, task, model_invocation_type=invocation))


ALLOWED: list[tuple[str, dict[str, Any]]] = [
    (CLAUDE_3, {"temperature": 0, "top_p": 0.9, "top_k": 40}),
    (OPUS_5, {"temperature": 1, "effort": "max", "thinking": False}),
    (OPUS_5, {"request": {"temperature": 1, "x": {"properties": {"temperature": 0.2}}}}),
    (SONNET_4_6, {"thinking": 2048, "max_tokens": 4096}),
    (NOVA_2, {"thinking": True, "effort": "low", "top_k": 3}),
    ("openai.gpt-oss-120b-1:0", {"effort": "high"}),
    ("acme.new-model-v1:0", {"temperature": 0, "top_p": 0.5, "max_tokens": 999_999}),
]


@pytest.mark.parametrize(("model", "task"), ALLOWED)
def test_what_a_model_takes_is_not_refused(model: str, task: dict[str, Any]) -> None:
    """Nothing is refused that the catalogue does not speak of."""
    assert family_of(spec(model, task)).kind == "text"


@pytest.mark.parametrize(
    ("model", "task", "facts"),
    [
        (OPUS_5, {"temperature": 0}, {"refuses": []}),
        (OPUS_5, {"max_tokens": 200_000}, {"max_output": 256_000}),
        ("us.anthropic.claude-fable-5", {}, {"batch": True}),
    ],
)
def test_a_fact_that_is_old_can_be_corrected(model: str, task: dict[str, Any], facts: dict[str, Any]) -> None:
    """The cure in the message works."""
    with pytest.raises(ConfigError) as error:
        family_of(spec(model, task))
    assert CURE in str(error.value) or "write `model_facts: {batch: true}` if it can today" in str(error.value)
    assert family_of(spec(model, task, model_facts=facts)).name == "anthropic"


@pytest.mark.parametrize(
    ("model", "thinking", "max_tokens"),
    [
        (CLAUDE_3, None, 512),
        (HAIKU_4_5, None, 512),
        (HAIKU_4_5, True, 8192),
        (HAIKU_4_5, 2000, 2512),
        (OPUS_5, None, 8192),
        (OPUS_5, False, 512),
        ("openai.gpt-oss-20b-1:0", None, 8192),
        (NOVA_2, True, 8192),
        (NOVA_2, None, 512),
    ],
)
def test_there_is_room_for_thoughts(model: str, thinking: Any, max_tokens: int) -> None:
    """Where a model thinks, the default of `max_tokens` leaves room for it; what is written stays."""
    task = task_of(spec(model, {"thinking": thinking}))
    assert (task.max_tokens, "max_tokens" in task.model_fields_set) == (max_tokens, False)  # pyright: ignore
    assert task_of(spec(model, {"thinking": thinking, "max_tokens": 4000})).max_tokens == 4000  # pyright: ignore


@pytest.mark.parametrize(
    ("model", "settings", "mode", "said"),
    [
        (HAIKU_4_5, {}, "native", None),
        (HAIKU_4_5, {"schema_mode": "tool"}, "tool", None),
        (HAIKU_4_5, {"schema_mode": "prompt"}, "prompt", None),
        (
            CLAUDE_3,
            {"schema_mode": "native"},
            "tool",
            "Claude 3 Haiku (anthropic) does not take native, so tool is used",
        ),
        (OPUS_5, {"schema_mode": "native"}, "prompt", "does not take native, so prompt is used"),
        (OPUS_5, {"task": {"thinking": False}}, "tool", None),
        (LLAMA, {"schema_mode": "tool"}, "prompt", "does not take tool, so prompt is used"),
        ("acme.custom-v1", {"family": "anthropic", "schema_mode": "native"}, "native", None),
        ("acme.custom-v1", {"family": "anthropic"}, "prompt", None),
        ("acme.custom-v1", {"family": "nova"}, "tool", None),
        ("acme.custom-v1", {"family": "chat"}, "native", None),
    ],
)
def test_the_next_form_is_chosen_and_said(model: str, settings: dict[str, Any], mode: str, said: str | None) -> None:
    """A way to ask for a schema that the model does not take is replaced; of an unknown model nothing is refused."""
    chosen = spec(model, **({"schema": {"score": "integer"}} | settings))
    found, notice = choose_schema_mode(chosen, family_of(chosen), task_of(chosen))
    assert (found, said is None) == (mode, notice is None)
    assert (said or "") in (notice or "")


def test_retired_models() -> None:
    """An ended and a Legacy model are told at load and refused at a launch, unless that is allowed."""
    ended = spec(CLAUDE_3)
    assert notices(ended, TODAY) == [f"model {CLAUDE_3}: Claude 3 Haiku ended its life on 2026-09-10"]
    with pytest.raises(RetiredModel, match=r"ended its life on 2026-09-10\. Nothing was sent: choose a living model"):
        require_living(ended, TODAY)
    legacy = spec("us.anthropic.claude-opus-4-1-20250805-v1:0", model_facts={"batch": True})
    with pytest.raises(RetiredModel, match="is Legacy since 2026-07-08: new accounts cannot use it"):
        require_living(legacy, TODAY)
    require_living(legacy.model_copy(update={"on_retired": "warn"}), TODAY)
    require_living(ended, date(2026, 3, 1))
    assert "its end of life is 2026-09-10" in notices(ended, date(2026, 9, 1))[0]
    ending = spec("us.meta.llama3-3-70b-instruct-v1:0")
    assert "ends its life on 2027-03-30, in 124 days" in notices(ending, TODAY)[0]
    second = spec([HAIKU_4_5, {"model": CLAUDE_3, "region": "us-west-2"}])  # pyright: ignore[reportArgumentType]
    with pytest.raises(RetiredModel, match=CLAUDE_3):
        require_living(second, TODAY)


def test_a_profile_is_told() -> None:
    """A model that has only profiles is told by the id to write; by a profile there is nothing to say."""
    bare = HAIKU_4_5.removeprefix("us.")
    assert notices(spec(bare), TODAY)[0].startswith(
        f"model: Claude Haiku 4.5 is called by an inference profile only, such as us.{bare} or "
    )
    assert notices(spec(HAIKU_4_5), TODAY) == []


def test_stages_of_a_life() -> None:
    """From the day itself a model is Legacy, and has ended."""
    model = Model.model_validate({"id": "x", "name": "X", "legacy": date(2026, 1, 1), "end_of_life": date(2026, 7, 1)})
    days = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 6, 30), date(2026, 7, 1)]
    assert [model.stage(day) for day in days] == ["active", "legacy", "legacy", "ended"]
