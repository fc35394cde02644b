"""Refusals, tool calls and truncated answers, in each family's own words."""

from typing import Any

import polars as pl
import pytest

from bedrock_assets.families import FAMILIES
from bedrock_assets.outputs.outcomes import n_truncated
from bedrock_assets.outputs.parse import Answers
from tests.labs.stages import jsonl


def outcome(family: str, output: Any) -> dict[str, Any]:
    """What is made of a model's output."""
    answers = Answers(FAMILIES[family])
    answers.add(jsonl([{"recordId": "a", "modelInput": {}, "modelOutput": output}]))
    return answers.outcomes().row(0, named=True)


def converse(stop: str, *content: Any) -> dict[str, Any]:
    """An answer of Nova or Converse."""
    return {"output": {"message": {"role": "assistant", "content": list(content)}}, "stopReason": stop}


def chat(content: str | None, finish: str, **message: Any) -> dict[str, Any]:
    """An answer of a model that chats."""
    return {"choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}]}


REFUSALS: list[tuple[str, Any, str]] = [
    ("anthropic", {"content": [], "stop_reason": "refusal"}, "the model stopped with refusal"),
    ("anthropic", {"content": [{"type": "text", "text": " \n"}], "stop_reason": "refusal"}, "stopped with refusal"),
    ("nova", converse("content_filtered"), "stopped with content_filtered"),
    ("converse", converse("guardrail_intervened"), "stopped with guardrail_intervened"),
    ("chat", chat(None, "stop", refusal="I cannot help with that."), "I cannot help with that."),
    ("gpt_oss", chat("", "content_filter"), "stopped with content_filter"),
    ("titan_text", {"results": [{"outputText": "", "completionReason": "CONTENT_FILTERED"}]}, "CONTENT_FILTERED"),
]


@pytest.mark.parametrize(("family", "output", "told"), REFUSALS)
def test_a_refusal_without_text(family: str, output: Any, told: str) -> None:
    """A model that refuses and says nothing in answer gives an error row that tells its own word for it."""
    row = outcome(family, output)
    assert (row["status"], row["error_code"], row["response"]) == ("error", "refusal", None)
    assert told in row["error_message"]
    assert row["retryable"] is False


@pytest.mark.parametrize(
    ("family", "output"),
    [
        ("anthropic", {"content": [{"type": "text", "text": "I will not."}], "stop_reason": "refusal"}),
        ("nova", converse("content_filtered", {"text": "I will not."})),
        ("chat", chat("I will not.", "content_filter")),
        ("titan_text", {"results": [{"outputText": "I will not.", "completionReason": "CONTENT_FILTERED"}]}),
    ],
)
def test_a_refusal_with_text(family: str, output: Any) -> None:
    """What a model does say is kept, and its stop reason tells that it refused."""
    row = outcome(family, output)
    assert (row["status"], row["response"], row["error_code"]) == ("ok", "I will not.", None)
    assert row["stop_reason"] in ("refusal", "content_filtered", "content_filter", "CONTENT_FILTERED")


INPUT = {"name": 'say "hi"\n\\', "n": [1, {"x": None}], "漢": "🙂"}
CALLED = '{"name":"say \\"hi\\"\\n\\\\","n":[1,{"x":null}],"漢":"🙂"}'
CALLS: list[tuple[str, Any]] = [
    ("anthropic", {"content": [{"type": "tool_use", "name": "f", "input": INPUT}], "stop_reason": "tool_use"}),
    ("nova", converse("tool_use", {"toolUse": {"toolUseId": "t", "name": "f", "input": INPUT}})),
    ("converse", converse("tool_use", {"text": None, "toolUse": {"toolUseId": "t", "name": "f", "input": INPUT}})),
    ("chat", chat(None, "tool_calls", tool_calls=[{"function": {"name": "f", "arguments": CALLED}}])),
    ("mistral_chat", chat(None, "tool_calls", tool_calls=[{"function": {"name": "f", "arguments": CALLED}}])),
]


@pytest.mark.parametrize(("family", "output"), CALLS)
def test_a_tool_call(family: str, output: Any) -> None:
    """A tool's input is the answer, as JSON, where there is no text."""
    row = outcome(family, output)
    assert (row["status"], row["response"]) == ("ok", CALLED)


def test_text_beside_a_tool_call() -> None:
    """Text goes before a tool's input, and both are kept; rows with and without calls stand side by side."""
    blocks = [{"type": "text", "text": "Hi."}, {"type": "tool_use", "name": "f", "input": {"a": 1}}]
    answers = Answers(FAMILIES["anthropic"])
    made = [{"content": blocks}, {"content": blocks[:1]}, {"content": blocks[1:]}]
    answers.add(b"\n" + jsonl([{"recordId": str(i), "modelOutput": one} for i, one in enumerate(made)]))
    assert answers.outcomes().sort("wire_id")["response"].to_list() == ['Hi.\n{"a":1}', "Hi.", '{"a":1}']


def test_reasoning_is_cut_off() -> None:
    """What comes before the answer is not part of it, in every model that writes its thoughts into the text."""
    assert outcome("gpt_oss", chat("<reasoning>Hm {x}\n.</reasoning>\n\nYes.", "stop"))["response"] == "Yes."
    assert outcome("chat", chat("<think>a</think>\n\nb <think>c</think>", "stop"))["response"] == "b <think>c</think>"
    for text, answer in (("Hm.\n</think>\n\nYes.", "Yes."), ("Hm.", "Hm.")):
        assert outcome("deepseek_r1", {"choices": [{"text": text, "stop_reason": "stop"}]})["response"] == answer


@pytest.mark.parametrize(
    ("family", "word"),
    [("anthropic", "max_tokens"), ("nova", "max_tokens"), ("llama", "length"), ("titan_text", "LENGTH")],
)
def test_truncated_answers_are_counted(family: str, word: str) -> None:
    """Each family's own word counts, and no other."""
    reasons = pl.Series([word, "stop", None, word, "end_turn", "FINISH"])
    assert n_truncated(reasons, FAMILIES[family]) == 2


def test_every_text_family_has_a_word_for_it() -> None:
    """A text family that does not tell a truncated answer would count none."""
    assert all(family.truncated for family in FAMILIES.values() if family.kind == "text")


@pytest.mark.parametrize(
    "embeddings",
    [[[0.5, 1]], {"float": [[0.5, 1]]}, {"int8": [[1, 2]], "float": [[0.5, 1.0]]}],
)
def test_vectors_of_cohere(embeddings: Any) -> None:
    """The vector is read from a list of them and from those by type."""
    row = outcome("cohere_embed_v4", {"embeddings": embeddings})
    assert (row["status"], row["embedding"]) == ("ok", [0.5, 1.0])


@pytest.mark.parametrize("embeddings", [[], [[]], [["0.5"]], [[None]], {"int8": [[1]]}, "none", 5, [[0.5, [1]]]])
def test_odd_vectors_of_cohere(embeddings: Any) -> None:
    """Anything else is an error row with the raw line."""
    row = outcome("cohere_embed_v4", {"embeddings": embeddings})
    assert (row["status"], row["error_code"]) == ("error", "unrecognised_output")
