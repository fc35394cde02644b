"""Structured answers: typed where they conform, a reason where they do not; nothing that a model says raises."""

import json
from typing import Any

import jsonschema
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_assets.config.answer_node import Node
from bedrock_assets.config.answer_schema import AnswerSchema, parse_schema
from bedrock_assets.families import FAMILIES
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.outputs.structured import validate_answers
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
    ({"sentiment": "glad"}, """sentiment: Input should be 'positive', 'neutral' or 'negative', got "glad\""""),
    ({"sentiment": None}, "sentiment: Field required"),
    ({"sentiment": 1}, "sentiment: Input should be a valid string, got 1"),
    ({"level": 4}, "level: Input should be 1, 2 or 3, got 4"),
    ({"level": "2"}, 'level: Input should be a valid integer, got "2"'),
    ({"level": True}, "level: Input should be a valid integer, got true"),
    ({"score": 0}, "score: Input should be greater than or equal to 1, got 0"),
    ({"score": 6}, "score: Input should be less than or equal to 5, got 6"),
    ({"score": "3"}, 'score: Input should be a valid integer, got "3"'),
    ({"score": 3.5}, "score: Input should be a valid integer, got 3.5"),
    ({"score": True}, "score: Input should be a valid integer, got true"),
    ({"score": 10**30}, "score: Input should be a valid integer, got 1e+30"),
    ({"share": 1.5}, "share: Input should be less than or equal to 1, got 1.5"),
    ({"share": "0.5"}, 'share: Input should be a valid number, got "0.5"'),
    ({"done": "true"}, 'done: Input should be a valid boolean, got "true"'),
    ({"done": 1}, "done: Input should be a valid boolean, got 1"),
    ({"note": ""}, 'note: String should have at least 1 character, got ""'),
    ({"note": {"a": 1}}, 'note: Input should be a valid string, got {"a": 1}'),
    ({"topics": "a"}, 'topics: Input should be a valid array, got "a"'),
    ({"topics": None}, "topics: Field required"),
    ({"topics": ["a", None]}, "topics[1]: Input should be a valid string, got null"),
    ({"topics": ["a", 1]}, "topics[1]: Input should be a valid string, got 1"),
    ({"topics": ["too long"]}, 'topics[0]: String should have at most 5 characters, got "too long"'),
    ({"topics": list("abcd")}, 'topics: List should have at most 3 items after validation, not 4, got ["a", "b", "c"'),
    ({"people": {}}, "people: Input should be a valid array, got {}"),
    ({"people": [5]}, "people[0]: Input should be an object, got 5"),
    ({"people": [{"name": "a", "tags": []}, {"tags": []}]}, "people[1].name: Field required"),
    ({"people": [{"name": "a", "tags": [1]}]}, "people[0].tags[0]: Input should be a valid string, got 1"),
    ({"people": [{"name": "a", "tags": [], "age": "7"}]}, 'people[0].age: Input should be a valid integer, got "7"'),
]


@pytest.mark.parametrize(("change", "message"), VIOLATIONS)
def test_violations(change: dict[str, Any], message: str) -> None:
    """Each rule is enforced, at any depth, and the message names the field, the rule and the value."""
    (good, _), (violation, values), (last, _) = read(GOOD, GOOD | change, GOOD)
    assert (good, last) == (None, None)
    assert (violation or "").startswith(message)
    assert set(values.values()) == {None}


def test_long_values_are_cut() -> None:
    """Of a value 80 characters are shown, and the first error only."""
    ((violation, _),) = read(GOOD | {"sentiment": "x" * 1000, "score": 9})
    assert violation == f"sentiment: Input should be 'positive', 'neutral' or 'negative', got \"{'x' * 79}"


CORNERS: list[tuple[str, dict[str, Any] | None]] = [
    ('{"n": 1.0, "x": 1}', {"n": 1, "x": 1.0}),
    ('{"n": 1e2, "x": -0}', {"n": 100, "x": 0.0}),
    ('{"n": 1, "n": 2, "x": 12345678901234567890123}', {"n": 2, "x": 12345678901234567890123.0}),
    ('{"n": 9223372036854775807, "x": 1e300}', {"n": 2**63 - 1, "x": 1e300}),
    ('{"n": 9223372036854775808, "x": 1}', None),
    ('{"n": 1, "x": 1e400}', None),
    ('{"n": 1, "x": NaN}', None),
    ('{"n": 1, "x": 1, "s": "a\\ud800"}', {"n": 1, "x": 1.0, "s": "a\ufffd"}),
    ('{"n": 1, "x": 1, "s": "\\u0000"}', {"n": 1, "x": 1.0, "s": "\0"}),
]


@pytest.mark.parametrize(("text", "values"), CORNERS)
def test_corners_of_json(text: str, values: dict[str, Any] | None) -> None:
    """A whole number may be written as 1.0, the last of two keys counts, and what fits no column is a violation."""
    schema = parse_schema({"n": "integer", "x": "number", "s": {"type": "string", "optional": True}})
    ((violation, found),) = read(text, schema=schema)
    assert (violation is None, found) == ((True, {"s": None} | values) if values else (False, dict.fromkeys("nxs")))


@pytest.mark.parametrize("text", ["", "no", "[]", "5", "{", '{"score": 3', "null", "{{", "{'score': 3}", "}{"])
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


def conforms(answer: Any, schema: AnswerSchema) -> bool:
    """What an independent validator says: absent is as good as null, and other fields are free."""

    def relaxed(one: Any) -> Any:
        if isinstance(one, list):
            return [relaxed(item) for item in one]
        if not isinstance(one, dict):
            return one
        keywords = {key: relaxed(value) for key, value in one.items() if key != "additionalProperties"}
        if isinstance(keywords.get("required"), list):
            members = keywords["properties"]
            keywords["required"] = [n for n in keywords["required"] if "anyOf" not in members[n]]
        return keywords

    return jsonschema.Draft202012Validator(relaxed(schema.json_schema(bounds=True))).is_valid(answer)


def columns_of(node: Node, value: Any) -> Any:
    """What the columns hold of a value that conforms."""
    if value is None:
        return None
    if node.item:
        return [columns_of(node.item, item) for item in value]
    if node.kind == "object":
        return {name: columns_of(inner, value.get(name)) for name, inner in node.fields.items()}
    return value


def has_big_integers(answer: Any) -> bool:
    """Whether a number is too large for a column, which a JSON schema allows."""
    if isinstance(answer, dict | list):
        return any(map(has_big_integers, answer.values() if isinstance(answer, dict) else answer))
    return isinstance(answer, int | float) and abs(answer) >= 2**63


@given(answers=st.lists(near, min_size=1, max_size=6))
def test_an_independent_validator_agrees(answers: list[Any]) -> None:
    """An answer conforms if and only if jsonschema says so, and then its columns hold what it says."""
    require_agreement(answers, SCHEMA)


def require_agreement(answers: list[Any], schema: AnswerSchema) -> None:
    """Both validators agree on each answer, and the columns hold those that conform."""
    for answer, (violation, found) in zip(answers, read(*answers, schema=schema), strict=True):
        if not has_big_integers(answer):
            assert (violation is None) == conforms(answer, schema), violation
        if violation is None:
            assert found == columns_of(schema.root, answer)
        else:
            assert set(found.values()) == {None}


bounds = st.none() | st.integers(-2, 2)


def between(low: str, high: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Two limits, either or both of which may be absent."""
    pairs = st.tuples(values, values).map(lambda pair: pair if None in pair else sorted(pair))
    return pairs.map(lambda pair: {name: v for name, v in zip((low, high), pair, strict=True) if v is not None})


sizes = st.none() | st.integers(0, 3)
scalars = st.one_of(
    st.just({"type": "boolean"}),
    st.builds(lambda limits: {"type": "string", **limits}, between("min_length", "max_length", sizes)),
    st.builds(
        lambda kind, limits: {"type": kind, **limits},
        st.sampled_from(["integer", "number"]),
        between("minimum", "maximum", bounds | st.sampled_from([-0.5, 1.5])),
    ),
    st.lists(st.sampled_from(["a", "b", "~"]), min_size=1, unique=True).map(lambda enum: {"enum": enum}),
    st.lists(st.integers(0, 3), min_size=1, unique=True).map(lambda enum: {"enum": enum}),
)
names = st.sampled_from(["a", "b", "c"])


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Lists and objects of written fields."""
    members = st.dictionaries(names, st.builds(optional, inner, st.booleans()), min_size=1, max_size=3)
    lists = st.builds(lambda item, limits: {"list": item, **limits}, inner, between("min_items", "max_items", sizes))
    return st.one_of(lists, members.map(lambda fields: {"object": fields}))


def optional(field: dict[str, Any], is_optional: bool) -> dict[str, Any]:
    """A written field that may or may not be left out."""
    return field | {"optional": is_optional}


fields = st.recursive(scalars, nested, max_leaves=5)
schemas = st.dictionaries(names, st.builds(optional, fields, st.booleans()), min_size=1, max_size=3)
small = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 4), st.sampled_from([0.5, 1.0, -1.5, 2**63, 1e18, 1e19, 10**25])),
    st.sampled_from(["", "a", "b", "~", "~a", "1", "true", "null", "\\", '"', "long one"]),
)
values = st.recursive(
    small, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def near_to(written: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that often conform to a written field."""
    if "object" in written:
        members = {name: near_to(field) for name, field in written["object"].items()}
        return values | st.fixed_dictionaries(members) | st.fixed_dictionaries({}, optional=members)
    if "list" in written:
        return values | st.lists(near_to(written["list"]), max_size=4)
    fitting = {
        "boolean": st.booleans(),
        "string": st.text(max_size=3),
        "integer": st.integers(-2, 2),
        "number": st.floats(-2, 2),
    }
    return values | (st.sampled_from(written["enum"]) if "enum" in written else fitting[written["type"]])


@settings(max_examples=200)
@given(data=st.data(), written=schemas)
def test_any_schema(data: st.DataObject, written: dict[str, Any]) -> None:
    """For any schema and any JSON object, both validators agree, and the columns hold what the answer says."""
    answers = st.lists(near_to({"object": written}).filter(lambda one: isinstance(one, dict)), max_size=5)
    require_agreement(data.draw(answers), parse_schema(written))


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
