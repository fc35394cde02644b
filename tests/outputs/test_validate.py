"""Structured answers: typed where they conform, told where they do not, and nothing that a model says raises."""

import json
from typing import Any

import jsonschema
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.config.answer_schema import AnswerSchema, parse_schema
from bedrock_assets.families import FAMILIES
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.outputs.validate import validate_answers
from tests.labs.stages import jsonl, ok

WRITTEN: dict[str, Any] = {
    "sentiment": {"enum": ["positive", "neutral", "negative"]},
    "level": {"enum": [1, 2, 3], "optional": True},
    "topics": {"list": {"type": "string", "max_length": 5}, "max_items": 3},
    "score": {"type": "integer", "minimum": 1, "maximum": 5},
    "share": {"type": "number", "minimum": 0, "maximum": 1, "optional": True},
    "done": {"type": "boolean", "optional": True},
    "note": {"type": "string", "min_length": 1, "optional": True},
    "people": {
        "list": {
            "object": {"name": "string", "age": {"type": "integer", "optional": True}, "tags": {"list": "string"}}
        },
        "optional": True,
    },
}
SCHEMA = parse_schema(WRITTEN)
GOOD: dict[str, Any] = {"sentiment": "neutral", "topics": ["a", "b"], "score": 3}


def read(*answers: Any, schema: AnswerSchema = SCHEMA) -> list[tuple[str | None, dict[str, Any]]]:
    """Violation and values of each answer; what is no text is written as JSON."""
    texts = [one if isinstance(one, str | None) else json.dumps(one, ensure_ascii=False) for one in answers]
    found = validate_answers(pl.Series(texts, dtype=pl.String), schema)
    return [(row["violation"], row["value"]) for row in found.iter_rows(named=True)]


def test_an_answer_that_conforms() -> None:
    """Every kind of value gets its type; what is optional may be absent or null; unknown fields are passed over."""
    people = [{"name": 'Zoë "Z"\n\\', "age": None, "tags": []}, {"name": "漢", "tags": ["x", "~y"]}]
    full = GOOD | {"level": 2, "share": 0.25, "done": False, "note": "~5", "people": people, "more": {"a": [1]}}
    (none, bare), (fine, values) = read(GOOD | {"note": None}, full)
    assert (none, fine) == (None, None)
    assert bare == GOOD | dict.fromkeys(("level", "share", "done", "note", "people"))
    expected = {name: full[name] for name in SCHEMA.fields}
    assert values == expected | {"people": [people[0], people[1] | {"age": None}]}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        " \n{}\n",
        "```json\n{}\n```",
        "```\n{}\n```",
        "Here it is:\n```JSON\n{}\n```\nIs that {all}?",
        "<reasoning>Hm.</reasoning>{}",
        "Sure: {} Anything else?",
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_what_stands_around_does_not_matter(text: str, indent: int | None) -> None:
    """Code fences, words and line breaks around the JSON, and within it, are passed over."""
    answer = GOOD | {"note": "a {brace} and ``` in it"}
    ((violation, values),) = read(text.replace("{}", json.dumps(answer, indent=indent)))
    assert violation is None
    assert values["note"] == "a {brace} and ``` in it"


VIOLATIONS: list[tuple[dict[str, Any], str]] = [
    ({"sentiment": "glad"}, "sentiment is glad, which is not one of: positive, neutral, negative"),
    ({"sentiment": None}, "sentiment is missing or null"),
    ({"sentiment": 1}, "sentiment is not a string: 1"),
    ({"level": 4}, "level is 4, which is not one of: 1, 2, 3"),
    ({"level": "2"}, 'level is not an integer: "2"'),
    ({"score": 0}, "score is 0, below 1"),
    ({"score": 6}, "score is 6, above 5"),
    ({"score": "3"}, 'score is not an integer: "3"'),
    ({"score": 3.5}, "score is not an integer: 3.5"),
    ({"score": True}, "score is not an integer: true"),
    ({"score": 10**30}, "score is not an integer: 1000"),
    ({"share": 1.5}, "share is 1.5, above 1"),
    ({"share": "0.5"}, 'share is not a number: "0.5"'),
    ({"done": "true"}, 'done is not true or false: "true"'),
    ({"done": 1}, "done is not true or false: 1"),
    ({"note": ""}, "note has 0 characters, below 1"),
    ({"note": {"a": 1}}, "note is not a string: "),
    ({"topics": "a"}, 'topics is not a list: "a"'),
    ({"topics": None}, "topics is missing or null"),
    ({"topics": ["a", None]}, "topics[] is missing or null"),
    ({"topics": ["a", 1]}, "topics[] is not a string: 1"),
    ({"topics": ["a", "too long"]}, "topics[] has 8 characters, above 5"),
    ({"topics": list("abcd")}, "topics has 4 items, above 3"),
    ({"people": {}}, "people is not a list: {}"),
    ({"people": [5]}, "people[] is not an object: 5"),
    ({"people": [{"name": "a", "tags": []}, {"tags": []}]}, "people[].name is missing or null"),
    ({"people": [{"name": "a", "tags": [1]}]}, "people[].tags[] is not a string: 1"),
    ({"people": [{"name": "a", "tags": [], "age": "7"}]}, 'people[].age is not an integer: "7"'),
]


@pytest.mark.parametrize(("change", "told"), VIOLATIONS)
def test_violations(change: dict[str, Any], told: str) -> None:
    """Each rule is enforced, at any depth, and the message names the field, the value and the rule."""
    (good, _), (violation, values), (last, _) = read(GOOD, GOOD | change, GOOD)
    assert (good, last) == (None, None)
    assert (violation or "").startswith(told)
    assert set(values.values()) == {None}


@pytest.mark.parametrize("text", ["", "no", "[]", "5", "{", '{"score": 3', "null", "{}{}", "{'score': 3}", "}{"])
def test_no_json_object(text: str) -> None:
    """A text without one JSON object in it says so; no answer at all is no violation."""
    (violation, _), (none, _) = read(text, None)
    assert violation == "the answer holds no JSON object"
    assert none is None


leaves = st.one_of(
    *(st.none(), st.booleans(), st.integers(-1, 6), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    *(st.sampled_from(["positive", "neutral", "", "~", "true", "null", "3"]), st.text(max_size=7)),
)
near = st.fixed_dictionaries(
    {
        "sentiment": st.sampled_from(["positive", "negative", "glad", None]),
        "topics": st.one_of(st.lists(st.one_of(st.text(max_size=6), leaves), max_size=4), leaves),
        "score": st.one_of(st.integers(0, 6), leaves),
    },
    optional={
        "level": st.one_of(st.integers(0, 4), leaves),
        "share": st.one_of(st.floats(-0.5, 1.5), leaves),
        "done": leaves,
        "note": leaves,
        "people": st.one_of(
            leaves,
            st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={"name": leaves, "age": leaves, "tags": st.one_of(leaves, st.lists(leaves, max_size=2))},
                ),
                max_size=2,
            ),
        ),
        "x": leaves,
    },
)


def conforms(answer: Any) -> bool:
    """What an independent validator says: absent is as good as null, and other fields are free."""
    schema = SCHEMA.json_schema(bounds=True)

    def relaxed(one: Any) -> Any:
        if isinstance(one, list):
            return [relaxed(item) for item in one]
        if not isinstance(one, dict):
            return one
        found = {key: relaxed(value) for key, value in one.items() if key != "additionalProperties"}
        if "required" in found:
            members = found["properties"]
            found["required"] = [n for n in found["required"] if "anyOf" not in members[n]]
        return found

    return jsonschema.Draft202012Validator(relaxed(schema)).is_valid(answer)


def has_big_integers(answer: Any) -> bool:
    """Whether a number is too large for a column, which a JSON schema allows."""
    if isinstance(answer, dict | list):
        return any(map(has_big_integers, answer.values() if isinstance(answer, dict) else answer))
    return isinstance(answer, int | float) and abs(answer) >= 2**63


@given(answers=st.lists(near, min_size=1, max_size=6))
def test_an_independent_validator_agrees(answers: list[Any]) -> None:
    """An answer conforms if and only if jsonschema says so, and then its columns hold what it says."""
    for answer, (violation, values) in zip(answers, read(*answers), strict=True):
        if not has_big_integers(answer):
            assert (violation is None) == conforms(answer), violation
        if violation is None:
            assert values["score"] == answer["score"]
            assert values["topics"] == answer["topics"]
            assert values["note"] == answer.get("note")


anything = st.recursive(
    st.one_of(leaves, st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*SCHEMA.fields, "name", "x"]), inner, max_size=5)
    ),
    max_leaves=9,
)


@given(answer=anything, text=st.text(), cut=st.integers(0, 60), ascii_only=st.booleans())
def test_no_answer_raises(answer: Any, text: str, cut: int, ascii_only: bool) -> None:
    """Any JSON, whole or cut, and any text: one row each, of the same types, with a status."""
    whole = json.dumps(answer, ensure_ascii=ascii_only)
    answers = Answers(FAMILIES["anthropic"], SCHEMA)
    answers.add(
        jsonl([ok("a", whole), ok("b", whole[:cut] + text), ok("c", "{" + text + "}"), ok("d", json.dumps(GOOD))])
    )
    rows = answers.outcomes()
    assert rows.schema == Answers(FAMILIES["anthropic"], SCHEMA).outcomes().schema
    assert len(rows) + answers.n_unreadable == 4
    broken = rows.filter(pl.col("status") == "error")
    assert set(broken["error_code"]) <= {"schema"}
    assert broken["response"].null_count() == 0
    assert rows.filter(pl.col("wire_id") == "d")["fields"].struct.field("score").to_list() == [3]


def test_a_truncated_answer_says_so() -> None:
    """JSON that max_tokens cut short is told apart from JSON that was never right."""
    line = ok("a", '{"score": 3, "top')
    line["modelOutput"]["stop_reason"] = "max_tokens"
    answers = Answers(FAMILIES["anthropic"], SCHEMA)
    answers.add(jsonl([line]))
    row = answers.outcomes().row(0, named=True)
    assert row["error_message"] == "the answer holds no JSON object; the answer was cut short, see max_tokens"
    assert (row["error_code"], row["response"]) == ("schema", '{"score": 3, "top')
