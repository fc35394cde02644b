"""A class's own validators run on each answer; whatever they raise, one row is an error and the others are not."""

import json
from typing import Any

import polars as pl
import pytest

from bedrock_assets.config.answer_schema import parse_schema
from bedrock_assets.families import FAMILIES
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.outputs.structured import MESSAGE_CHARS, AnswerValidator, runs_code, validate_answers
from tests.labs import answer_classes
from tests.labs.stages import jsonl, ok
from tests.outputs import checked_classes
from tests.outputs.checked_classes import Exiting, Review, Serialized

REVIEW = parse_schema("tests.outputs.checked_classes:Review")


def violations(*answers: dict[str, Any], path: str = "Review") -> list[str | None]:
    """What is wrong with each answer."""
    texts = pl.Series([json.dumps(answer) for answer in answers])
    return validate_answers(texts, parse_schema(f"tests.outputs.checked_classes:{path}"))["violation"].to_list()


CASES: list[tuple[dict[str, Any], str | None]] = [
    ({"stars": 5, "note": "fine"}, None),
    ({"stars": 5, "note": "n/a"}, "note: write what you think, or null"),
    ({"stars": 1, "note": None}, "one star is not a good mood"),
    ({"stars": 2, "note": None}, "two stars need a note"),
    ({"stars": 5, "note": "fine", "animals": [{"kind": "cat"}, {"kind": "cow"}]}, "KeyError: 'cow'"),
    # what does not fit its column is refused whether the class would take it or not
    ({"stars": 9, "note": "fine"}, "stars: Input should be less than or equal to 5, got 9"),
    ({"note": "fine"}, "stars: Field required"),
    # null is as good as absent, with and without a default
    ({"stars": 5}, None),
    ({"stars": 5, "note": None, "mood": None, "animals": None}, None),
    ({"stars": 1}, "one star is not a good mood"),
    # a whole number may be written as 5.0, and unknown fields are ignored, even where the class forbids them
    ({"stars": 5.0, "note": "fine", "more": {"a": None}}, None),
]


@pytest.mark.parametrize(("answer", "message"), CASES)
def test_validators_run(answer: dict[str, Any], message: str | None) -> None:
    """What a validator raises is the violation of its row, and of no other."""
    fine = {"stars": 3, "note": "fine"}
    assert violations(fine, answer, fine) == [None, message, None]


def test_columns_keep_what_the_model_said() -> None:
    """Validators check; what they return instead of a value is not kept, and defaults are not filled in."""
    (row,) = validate_answers(pl.Series(['{"stars": 5, "note": "fine"}']), REVIEW)["value"].to_list()
    assert row == {"stars": 5, "mood": None, "note": "fine", "animals": None}


def test_a_validator_cannot_end_the_run() -> None:
    """An exit is one row's error as well; long messages are cut."""
    assert violations({"n": 1}, {"n": 0}, path="Exiting") == [None, "SystemExit: 3"]
    long = json.dumps({"stars": 3, "note": "fine", "animals": [{"kind": "x" * 1000}]})
    message, _ = AnswerValidator(REVIEW).check(long)
    assert message is not None
    assert (message[:12], len(message)) == ("KeyError: 'x", MESSAGE_CHARS)


def test_which_classes_have_validators() -> None:
    """Only classes that call Python for a value are given every row."""
    for plain in (answer_classes.Answer, answer_classes.Tree, Serialized):
        assert not runs_code(plain.__pydantic_core_schema__)
    for checked in (Review, Exiting, checked_classes.Animal):
        assert runs_code(checked.__pydantic_core_schema__)


def test_a_lax_class_does_not_widen_its_columns() -> None:
    """A value that the class would convert and its column cannot hold is a violation still."""
    assert violations({"stars": "3", "note": "fine"}) == ['stars: Input should be a valid integer, got "3"']
    assert None not in violations({"stars": 10**20, "note": "fine"}, {"stars": 3, "note": 5})


def test_a_row_of_the_table() -> None:
    """The row keeps its text, with the code `schema`, and the rows beside it are answers."""
    answers = Answers(FAMILIES["anthropic"], REVIEW)
    answers.add(jsonl([ok("a", '{"stars": 5}'), ok("b", '{"stars": 1}')]))
    rows = answers.outcomes().sort("wire_id").select("status", "error_code", "error_message", "response").rows()
    assert rows[0] == ("ok", None, None, '{"stars": 5}')
    assert rows[1] == ("error", "schema", "one star is not a good mood", '{"stars": 1}')
