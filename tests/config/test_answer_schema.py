"""`schema:` in YAML or as a pydantic class: what it becomes, and what is refused with the field and the cure."""

from typing import Any

import jsonschema
import polars as pl
import pytest

from bedrock_assets.config.answer_schema import parse_schema
from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.errors import ColumnClash, ConfigError
from tests.labs.stages import TITAN, MakePipeline, texts
from tests.outputs.test_structured import SCHEMA


def test_the_columns() -> None:
    """Every kind of field has one type."""
    assert SCHEMA.dtypes["sentiment"] == pl.String
    assert SCHEMA.dtypes["score"] == pl.Int64
    assert SCHEMA.dtypes["share"] == pl.Float64
    assert SCHEMA.dtypes["topics"] == pl.List(pl.String)
    person = pl.Struct({"name": pl.String, "age": pl.Int64, "tags": pl.List(pl.String)})
    assert SCHEMA.dtypes["people"] == pl.List(person)


def test_the_json_schema() -> None:
    """Every field is required and nothing else allowed, as strict services ask; what is optional may be null."""
    written = {
        "kind": {"enum": ["a", "b"], "optional": True, "description": "its kind"},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
    }
    assert parse_schema(written).json_schema(bounds=True) == {
        "type": "object",
        "properties": {
            "kind": {"anyOf": [{"type": "string", "enum": ["a", "b"], "description": "its kind"}, {"type": "null"}]},
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
        },
        "required": ["kind", "score"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("bounds", [True, False])
def test_it_is_a_json_schema(bounds: bool) -> None:
    """What is sent is valid JSON schema; without bounds no keyword stands in it that constrained decoding refuses."""
    schema = SCHEMA.json_schema(bounds=bounds)
    jsonschema.Draft202012Validator.check_schema(schema)
    refused = {"'minimum'", "'maximum'", "'minLength'", "'maxLength'", "'maxItems'"}
    assert bool(refused & set(repr(schema).replace(":", "").split())) == bounds
    assert ("minimum: 1, maximum: 5" in repr(schema)) != bounds


REFUSED: list[tuple[Any, str]] = [
    ({}, "schema: name at least one field"),
    ({"a": None}, r"schema\.a: keys and values are expected"),
    ({"a": "text"}, r"schema\.a\.type: Input should be 'string', 'integer'"),
    ({"a": {"tpye": "string"}}, r"schema\.a: unknown key 'tpye'; did you mean type\?"),
    ({"a": {}}, r"schema\.a: write exactly one of type, enum, list, object"),
    ({"a": {"type": "string", "list": "string"}}, r"schema\.a: write exactly one of"),
    ({"a": {"enum": []}}, r"schema\.a: an enum is a list of words or of whole numbers"),
    ({"a": {"enum": [True, False]}}, r"quote words such as 'yes' and 'no'"),
    ({"a": {"enum": ["x", 1]}}, r"schema\.a: an enum is"),
    ({"a": {"type": "string", "minimum": 1}}, r"schema\.a: minimum and maximum are for numbers, not for string"),
    ({"a": {"type": "integer", "max_length": 1}}, r"schema\.a: limits on length or items are for strings and lists"),
    ({"a": {"type": "integer", "minimum": 5, "maximum": 1}}, r"schema\.a: no value is at least 5 and at most 1"),
    ({"a": {"list": {"type": "string", "optional": True}}}, r"schema\.a\.list: an item of a list cannot be optional"),
    ({"a": {"object": {}}}, r"schema\.a\.object: name at least one field"),
    ({"a": {"object": {"b": "text"}}}, r"schema\.a\.object\.b\.type: "),
    ({"__line": "string"}, "schema: '__line' is not a field name"),
    ("answers", "'answers' is not an import path; write fields, or my_package.models:Answer"),
    ("no_such_package:Answer", "cannot be imported: No module named 'no_such_package'"),
    ("tests.labs.answer_classes:Nothing", "cannot be imported: module 'tests.labs.answer_classes' has no attribute"),
    ("tests.labs.answer_classes:not_a_class", "is not a pydantic class"),
    ("tests.labs.answer_classes:Tree", r"class Tree contains itself"),
    ("tests.labs.answer_classes:Free", r"counts: .*free keys.* cannot be a typed column"),
    ("tests.labs.answer_classes:Either", r"value: one of several types cannot be a typed column"),
    ("tests.labs.answer_classes:Empty", "the class has no fields"),
    ("tests.labs.answer_classes:Hollow", r"Hollow\.inner\.object: name at least one field"),
    ("tests.labs.answer_classes:Bounded", r"share: \['exclusiveMinimum'\] cannot be"),
]


@pytest.mark.parametrize(("written", "told"), REFUSED)
def test_what_is_refused(written: Any, told: str) -> None:
    """A schema that has no typed columns is refused at load, with its field and the cure."""
    with pytest.raises(ConfigError, match=told):
        parse_schema(written)


def test_a_module_that_raises() -> None:
    """A class whose module cannot be imported is refused at load, with the module's own error."""
    with pytest.raises(ConfigError, match="its module raises RuntimeError: the user's own module is broken"):
        parse_schema("tests.labs.raising:Answer")


def test_a_class() -> None:
    """A pydantic class gives the columns and limits that the same fields give in YAML."""
    person = {"object": {"name": "string", "age": {"type": "integer", "optional": True}}}
    written = {
        "mood": {"enum": ["good", "bad"], "description": "An enum of words."},
        "kind": {"enum": ["a", "b"], "optional": True},
        "fixed": {"enum": ["x"]},
        "score": {"type": "integer", "minimum": 1, "maximum": 5, "description": "how good"},
        "above": {"type": "integer", "minimum": 2, "maximum": 4},
        "share": {"type": "number", "maximum": 1, "optional": True},
        "names": {"list": {"type": "string", "min_length": 1}, "max_items": 3},
        "person": person | {"optional": True, "description": "A class within a class."},
        "others": {"list": person | {"description": "A class within a class."}, "optional": True},
    }
    assert parse_schema("tests.labs.answer_classes:Answer") == parse_schema(written)


def test_a_pipeline_has_its_columns(make_pipeline: MakePipeline) -> None:
    """The fields stand beside `response`, with the prefix of the other answer columns."""
    pipeline = make_pipeline(texts(1), schema={"score": "integer", "note": "string"}, output_prefix="b_")
    names = list(pipeline.answer_columns.values())
    assert names[names.index("b_response") + 1 :][:2] == ["b_score", "b_note"]
    assert pipeline.records.parameters["schema_mode"] == "native"


def test_names_that_are_taken(make_pipeline: MakePipeline) -> None:
    """A field named as a column of the input or of the answer is refused; a prefix helps against the input's."""
    with pytest.raises(ColumnClash, match="already has column 'text'"):
        next(read_rows(make_pipeline(texts(1), schema={"text": "string"})))
    assert make_pipeline(texts(1), schema={"text": "string"}, output_prefix="b_").schema is not None
    for name in ("status", "response", "record_id", "embedding"):
        with pytest.raises(ConfigError, match=rf"schema\.{name}: the answer already has a column of that name"):
            make_pipeline(texts(1), schema={name: "string"}, output_prefix="b_")


def test_what_does_not_go_together(make_pipeline: MakePipeline) -> None:
    """An embedding has no fields; a way that a model does not take is replaced by its next one, and that is said."""
    with pytest.raises(ConfigError, match="an embedding has no fields"):
        make_pipeline(texts(1), model=TITAN, task={"embedding": {"column": "text"}}, schema={"a": "string"})
    nova = make_pipeline(texts(1), model="us.amazon.nova-lite-v1:0", schema={"a": "string"}, schema_mode="native")
    assert nova.records.parameters["schema_mode"] == "tool"
    assert nova.notices == ["schema_mode: Nova Lite V1 (nova) does not take native, so tool is used"]
