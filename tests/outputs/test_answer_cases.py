"""Shapes of answers that are easily read wrong, each as a line of a job's output, and what becomes of it."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bedrock_assets.config.answer_schema import AnswerSchema, parse_schema
from bedrock_assets.families import FAMILIES, Family
from bedrock_assets.models import find_model
from bedrock_assets.outputs.parse import Answers, one_outcome_per_row
from bedrock_assets.outputs.thoughts import TRUNCATED
from bedrock_assets.outputs.unexplained import SEVERAL
from tests.labs.stages import jsonl

CASES = [json.loads(line) for line in Path(__file__).with_name("answers.jsonl").open(encoding="utf-8")]
PROMPT = "the prompt, which is nobody's business"
INPUT = {"anthropic_version": "x", "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]}
SCORE = parse_schema({"reason": "string", "score": "integer"})


def row_of(family: Family, line: bytes, schema: AnswerSchema | None = None) -> dict[str, Any]:
    """The outcome of the one record of a job."""
    answers = Answers(family, schema)
    answers.add(line)
    assert answers.n_unreadable == 0
    none = pl.lit(None, pl.String)
    rows = pl.DataFrame({"record_id": ["r1"]}).with_columns(code=none, message=none, copy_of=none)
    settled, n_unknown = one_outcome_per_row(rows, answers.outcomes(), "the job ended")
    assert n_unknown == 0
    row = settled.row(0, named=True)
    return {**row, **(row.get("fields") or {})}


def line_of(output: Any, **more: Any) -> bytes:
    """A line with that `modelOutput`."""
    return jsonl([{"recordId": "r1", "modelInput": INPUT, "modelOutput": output, **more}])


def read(family: str, output: Any, schema: AnswerSchema | None = None) -> dict[str, Any]:
    """The outcome of one `modelOutput`."""
    return row_of(FAMILIES[family], line_of(output), schema)


def fits(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """A case's row is as the case wants it; what speaks of cost is tested below."""
    for key in ("status", "error_code", "error_message", "retryable", "response", "score", "input_tokens"):
        if key in expected:
            assert row[key] == expected[key], key
    assert expected.get("error_message_contains", "") in (row["error_message"] or "")
    if "error_message_lacks" in expected:
        assert expected["error_message_lacks"] not in row["error_message"]


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    """Each case of the file becomes what it says there."""
    is_converse = "Converse" in case["why"]
    model = find_model(case["model"])
    assert model is not None
    family = FAMILIES["converse" if is_converse else str(model.family)]
    schema = parse_schema(case["schema"]) if "schema" in case else None
    if "raw_tail" in case:
        line = f'{{"recordId":"r1","modelInput":{json.dumps(INPUT)},{case["raw_tail"]}}}\n'.encode()
    else:
        line = line_of(case["modelOutput"])
    row, expected = row_of(family, line, schema), case["expect"]
    if "never" in expected or "not" in expected:
        assert (row["status"], row["error_code"]) == ("error", SEVERAL if "never" in expected else "schema")
    else:
        fits(row, expected)
    assert PROMPT not in (row["error_message"] or "")


ERRORS: list[tuple[dict[str, Any], tuple[str, str, bool]]] = [
    ({"error": {"errorCode": 429, "errorMessage": "busy"}}, ("429", "busy", True)),
    ({"error": {"type": "overloaded_error", "message": "busy"}}, ("overloaded_error", "busy", True)),
    ({"error": {"code": 400, "message": "bad"}}, ("400", "bad", False)),
    ({"error": {"message": "bad", "retryable": True}}, ("model_error", "bad", True)),
    ({"error": "out of luck"}, ("model_error", "out of luck", False)),
    ({"errorCode": 503, "errorMessage": "down", "retryable": False}, ("503", "down", False)),
    ({"errorMessage": "down"}, ("model_error", "down", False)),
    ({"__type": "ThrottlingException", "message": "slow"}, ("ThrottlingException", "slow", True)),
    ({"response": {"body": {"error": {"code": "x", "message": "deep"}}}}, ("x", "deep", False)),
    ({"content": [{"error": {"type": "x", "message": "listed"}}]}, ("x", "listed", False)),
]


@pytest.mark.parametrize(("found", "expected"), ERRORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_error_object_anywhere(family: str, found: dict[str, Any], expected: tuple[str, str, bool]) -> None:
    """An error is read with its code, message and `retryable`, in the output of any family and beside it."""
    beside = jsonl([{"recordId": "r1", "modelInput": {"error": "of the prompt", "message": "too"}, **found}])
    for line in (line_of(found), beside):
        row = row_of(FAMILIES[family], line)
        assert row["status"] == "error"
        assert (row["error_code"], row["error_message"], row["retryable"]) == expected


def test_an_error_wins_over_an_answer() -> None:
    """A line with an answer and an error is no success."""
    text = {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    row = row_of(
        FAMILIES["anthropic"], line_of(text, error={"errorCode": 500, "errorMessage": "late", "expired": False})
    )
    assert (row["status"], row["response"], row["error_code"]) == ("error", None, "500")


@pytest.mark.parametrize("output", [None, 5, [], {}, {"x": [1]}, {"message": {"role": "x"}}, {"x": {"message": "Hi"}}])
@pytest.mark.parametrize("family", FAMILIES)
def test_output_is_quoted_and_the_prompt_is_not(family: str, output: Any) -> None:
    """What is not understood is an error that quotes output, whatever stands before it in the line."""
    row = read(family, output)
    assert (row["status"], row["error_code"], row["retryable"]) == ("error", "unrecognised_output", False)
    assert row["error_message"] == json.dumps({"modelOutput": None} if output is None else output)
    lines = jsonl([{"modelInput": INPUT, "recordId": "r1"}])
    assert PROMPT not in row_of(FAMILIES[family], lines)["error_message"]


def chat(content: Any, reason: str = "stop", **more: Any) -> dict[str, Any]:
    """A chat completion."""
    return {"choices": [{"message": {"content": content, **more}, "finish_reason": reason}]}


def text_of(family: str, text: str | None, reason: str) -> dict[str, Any]:
    """An output of a text family with this text."""
    blocks = [] if text is None else [{"text": text}]
    outputs = {
        "anthropic": {"content": [{"type": "text", **block} for block in blocks], "stop_reason": reason},
        "nova": {"output": {"message": {"content": blocks}}, "stopReason": reason},
        "llama": {"generation": text, "stop_reason": reason},
        "mistral": {"outputs": [{"text": text, "stop_reason": reason}]},
        "deepseek_r1": {"choices": [{"text": text, "stop_reason": reason}]},
        "titan_text": {"results": [{"outputText": text, "completionReason": reason}]},
    }
    return outputs.get(
        {"converse": "nova", "nova_2": "nova", "llama4": "llama"}.get(family, family), chat(text, reason)
    )


TEXT_FAMILIES = [family for family in FAMILIES.values() if family.kind == "text"]


@pytest.mark.parametrize("text", [None, "", " \n"])
@pytest.mark.parametrize("family", TEXT_FAMILIES, ids=lambda family: family.name)
def test_cut_off_before_the_answer_began(family: Family, text: str | None) -> None:
    """No text and a limit on tokens is no answer in any family, and nothing that another attempt would cure."""
    for schema in (None, SCORE):
        for reason in family.truncated:
            row = row_of(family, line_of(text_of(family.name, text, reason)), schema)
            assert (row["status"], row["error_code"], row["retryable"]) == ("error", TRUNCATED, False)
            assert row["response"] is None
            cure = "shorten the prompt" if "window" in reason else "raise max_tokens"
            assert cure in row["error_message"]


@pytest.mark.parametrize("text", ["<think>Hm", " <reasoning>Hm", "<think>a</think><think>b", "\n<reasoning>"])
@pytest.mark.parametrize("family", [one for one in TEXT_FAMILIES if one.thoughts == "tagged"], ids=lambda one: one.name)
def test_thoughts_without_an_end(family: Family, text: str) -> None:
    """Thoughts that do not end are no answer, whatever the stop reason is."""
    for reason in (*family.truncated, "stop"):
        row = row_of(family, line_of(text_of(family.name, text, reason)))
        assert (row["status"], row["error_code"], row["response"]) == ("error", TRUNCATED, None)


@pytest.mark.parametrize("family", TEXT_FAMILIES, ids=lambda one: one.name)
def test_an_answer_that_is_cut_off_stays(family: Family) -> None:
    """An answer that a limit cut off after it began is an answer, as it is."""
    text = "Hm.</think>The answ" if family.thoughts == "opened" else "The answ"
    row = row_of(family, line_of(text_of(family.name, text, family.truncated[0])))
    assert (row["status"], row["response"], row["stop_reason"]) == ("ok", "The answ", family.truncated[0])


TWO = [{"reason": "x", "score": 1}, {"reason": "y", "score": 5}]


def tools_of(family: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """An output that calls a tool once for each input."""
    if family == "anthropic":
        return {
            "content": [{"type": "tool_use", "name": "answer", "input": one} for one in inputs],
            "stop_reason": "tool_use",
        }
    if family == "nova":
        blocks = [{"toolUse": {"toolUseId": "t", "name": "answer", "input": one}} for one in inputs]
        return {"output": {"message": {"content": blocks}}, "stopReason": "tool_use"}
    calls = [{"function": {"name": "answer", "arguments": json.dumps(one)}} for one in inputs]
    return chat(None, "tool_calls", tool_calls=calls)


@pytest.mark.parametrize("family", ["anthropic", "nova", "chat", "mistral_chat"])
def test_several_calls_of_a_tool(family: str) -> None:
    """With a schema several calls that differ are an error, and the same twice is one answer; without, all are kept."""
    row = read(family, tools_of(family, TWO), SCORE)
    assert (row["status"], row["error_code"], row["score"]) == ("error", "schema", None)
    assert "2 JSON objects that conform and differ" in row["error_message"]
    assert read(family, tools_of(family, [TWO[1]] * 2), SCORE)["score"] == 5
    assert read(family, tools_of(family, TWO[:1]), SCORE)["score"] == 1
    assert json.loads(read(family, tools_of(family, TWO))["response"]) == TWO
    assert json.loads(read(family, tools_of(family, TWO[:1]))["response"]) == TWO[0]


DRAFT, FINAL = ('{"reason": "a", "score": 2}', '{"reason": "b", "score": 4}')


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (f"{DRAFT}\n{FINAL}", None),
        (f"[{DRAFT}, {FINAL}]", None),
        (f"```json\n{DRAFT}\n```\nand then\n```json\n{FINAL}\n```", None),
        (f"{DRAFT} and once more {DRAFT}", 2),
        (f'{{"note": 1}} {FINAL}', 4),
        (f'{FINAL} {{"note": 1}}', 4),
        (f"in braces {{like these}}: {FINAL}.", 4),
        (f"<thinking>{DRAFT}</thinking>\n{FINAL}", 4),
        (f"<think>{DRAFT}</think><reasoning>{DRAFT}</reasoning>{FINAL}", 4),
        (f"```\n{FINAL}\n```", 4),
        (f'The text holds {DRAFT}. My verdict: {{"reason": "va', None),
        (f'The text holds {DRAFT}. My verdict: {{"reason": "vague", "score": "1"}}', None),
        (f'It is written as {{"reason": text}}. {FINAL}', 4),
        ("{" * 2_000 + FINAL, None),
        ('{"reason": "it says {\\"score\\": 9}", "score": 3}', 3),
    ],
)
@pytest.mark.parametrize("family", ["anthropic", "nova", "chat", "llama", "mistral", "titan_text"])
def test_several_objects_in_a_text(family: str, text: str, score: int | None) -> None:
    """Of several objects that conform and differ none is taken; thoughts and other objects do not count."""
    row = read(family, text_of(family, text, "stop"), SCORE)
    assert (row["status"], row["error_code"], row["score"]) == (
        ("error", "schema", None) if score is None else ("ok", None, score)
    )


@pytest.mark.parametrize("family", ["anthropic", "nova", "chat", "llama"])
def test_a_cut_text_is_no_verdict(family: str) -> None:
    """What was cut may have been about to say something else; one whole object is an answer all the same."""
    word = FAMILIES[family].truncated[0]
    row = read(family, text_of(family, f"The text holds {DRAFT}. My verdict is", word), SCORE)
    assert (row["status"], row["error_code"], row["score"]) == ("error", "schema", None)
    assert "does not end; the answer was cut short" in row["error_message"]
    assert read(family, text_of(family, FINAL, word), SCORE)["score"] == 4


def test_a_number_without_end() -> None:
    """1e400 is JSON: its field is unknown, and the other lines are read."""
    lines = [
        b'{"recordId":"a","modelOutput":{"generation":"x","generation_token_count":1e400}}',
        b'{"recordId":"b","modelOutput":{"generation":"y","generation_token_count":3}}',
        b'{"recordId":"c","modelOutput":{"generation":1e400}}',
    ]
    answers = Answers(FAMILIES["llama"])
    answers.add(b"\n".join(lines) + b"\n")
    told = answers.outcomes().sort("wire_id").select("status", "response", "output_tokens").rows()
    assert told == [("ok", "x", None), ("ok", "y", 3), ("error", None, None)]


@pytest.mark.parametrize("family", ["chat", "gpt_oss", "jamba", "mistral_chat", "mistral", "deepseek_r1", "titan_text"])
def test_several_answers_to_choose_from(family: str) -> None:
    """Where a format has room for several answers, two of them are an error."""
    output = text_of(family, "Hm.</think>one", "stop")
    name = next(iter(output))
    row = read(family, {name: output[name] * 2})
    assert (row["status"], row["error_code"], row["response"]) == ("error", SEVERAL, None)


def test_several_vectors() -> None:
    """Neither form of Cohere's answer gives one of several vectors."""
    for vectors in ([[1.0], [2.0]], {"float": [[1.0], [2.0]]}):
        for family in ("cohere_embed_v3", "cohere_embed_v4"):
            row = read(family, {"embeddings": vectors})
            assert (row["status"], row["error_code"], row["embedding"]) == ("error", SEVERAL, None)
            assert "2 vectors" in row["error_message"]


def test_parts_are_joined_in_order() -> None:
    """Texts, and what citations stand for, are all in the answer; thoughts are not."""
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read("anthropic", {"content": blocks, "stop_reason": "end_turn"})["response"] == "ab"
    cited = [{"text": "a"}, {"citationsContent": {"content": [{"text": "b"}, {"text": "c"}]}}, {"text": "d"}]
    cited.insert(0, {"text": None, "citationsContent": None, "reasoningContent": {"reasoningText": {"text": "hm"}}})
    for family in ("nova", "converse"):
        output = {"output": {"message": {"content": cited}}, "stopReason": "end_turn"}
        assert read(family, output)["response"] == "abcd"
    parts = [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "a"}, {"text": "b"}]
    assert read("mistral_chat", chat(parts))["response"] == "ab"
    assert read("chat", chat('[{"a": 1}]'))["response"] == '[{"a": 1}]'


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDE00", "\\ud83d\\u0041", "\\ude00\\ud83d"])
@pytest.mark.parametrize("family", TEXT_FAMILIES, ids=lambda one: one.name)
def test_halves_of_characters(family: Family, half: str) -> None:
    """Half a surrogate pair is U+FFFD in texts, tool inputs, structured answers and errors; no line is lost."""
    whole = re.sub(r"\\u[dD]...", "\ufffd", half).replace("\\u0041", "A")
    line = line_of(text_of(family.name, "cut HALF here</think>cut HALF here", "stop")).replace(b"HALF", half.encode())
    response = row_of(family, line)["response"]
    assert response.endswith(f"cut {whole} here")
    structured = line_of(text_of(family.name, '{"reason": "HALF", "score": 1}', "stop"))
    row = row_of(family, structured.replace(b"HALF", half.replace("\\", "\\\\").encode()), SCORE)
    assert (row["status"], row["reason"]) == ("ok", whole)
    error = row_of(family, line_of({"error": {"message": "HALF"}}).replace(b"HALF", half.encode()))
    assert error["error_message"] == whole
    if family.name in ("anthropic", "nova", "chat"):
        tool = line_of(tools_of(family.name, [{"reason": "HALF", "score": 1}]))
        escaped = half.replace("\\", "\\\\") if family.name == "chat" else half
        assert row_of(family, tool.replace(b"HALF", escaped.encode()), SCORE)["reason"] == whole
