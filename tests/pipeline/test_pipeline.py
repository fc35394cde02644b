"""A pipeline is checked when it is made: before anything is read, written or paid."""

import json
from typing import Any

import polars as pl
import pytest

from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.errors import ColumnClash, ConfigError, PromptError
from bedrock_assets.pipeline.records import ERROR_CODE, LINE
from bedrock_assets.pipeline.workload import ANSWER_COLUMNS
from tests.labs.stages import HAIKU, TITAN, MakePipeline, texts

EMBEDDING = {"embedding": {"column": "text", "dimensions": 256}}


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"prompt": "About {topic}"}, PromptError, "'topic' named in prompt 'task.text.prompt' .* it has: id, text"),
        (
            {"task": {"text": {"prompt": "x", "system": "{who}"}}},
            PromptError,
            "'who' named in prompt 'task.text.system'",
        ),
        ({"prompt": "{text"}, PromptError, "line 1: a lone"),
        ({"task": {"text": {"prompt_id": "nothing"}}}, PromptError, "has no file nothing.txt"),
        ({"task": {"embedding": {"column": "body"}}, "model": TITAN}, PromptError, "'body' is not in the dataset"),
        ({"task": EMBEDDING}, ConfigError, "is for text tasks, but the task is embedding"),
    ],
)
def test_what_does_not_fit_is_refused(
    make_pipeline: MakePipeline, overrides: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A placeholder, template, prompt file, column or task that does not fit is refused when the file is looked at."""
    with pytest.raises(error, match=message):
        next(read_rows(make_pipeline(texts(3), **overrides)))


@pytest.mark.parametrize("name", ["record_id", *(name for name in ANSWER_COLUMNS if name != "embedding")])
def test_every_answer_column_is_reserved(make_pipeline: MakePipeline, name: str) -> None:
    """An input column named as any column of the answer is refused."""
    with pytest.raises(ColumnClash, match=f"already has column '{name}'"):
        next(read_rows(make_pipeline(texts(1).with_columns(pl.lit(1).alias(name)))))


def test_answers_have_one_column_of_their_kind(make_pipeline: MakePipeline) -> None:
    """A text pipeline may have an input column `embedding`, an embedding pipeline one called `response`."""
    text = make_pipeline(texts(1).with_columns(embedding=pl.lit(1)))
    vectors = make_pipeline(texts(1).with_columns(response=pl.lit(1)), task=EMBEDDING, model=TITAN)
    assert "embedding" not in text.answer_columns
    assert "response" not in vectors.answer_columns


def test_working_names_are_free(make_pipeline: MakePipeline) -> None:
    """Input columns named as the package's own intermediate ones are ordinary columns."""
    frame = pl.DataFrame(
        {name: [name] for name in ("id", "text", "system", "code", "message", "line", "wire_id", "sent")}
    )
    pipeline = make_pipeline(frame, task={"text": {"prompt": "{id} {text}", "system": "{system} {code}"}})
    made = pipeline.records.make(frame.with_columns(record_id=pl.lit("r1")))
    request = json.loads(made[LINE].item())["modelInput"]
    assert request["system"] == "system code"
    assert request["messages"][0]["content"][0]["text"] == "id text"
    assert made.columns == ["record_id", "__line", "__error_code", "__error_message"]


def test_a_prompt_without_placeholders(make_pipeline: MakePipeline) -> None:
    """A prompt that names no column is the same for every row, and none is rejected."""
    pipeline = make_pipeline(texts(3), prompt="Tell a joke")
    made = pipeline.records.make(texts(3).with_columns(record_id="id"))
    assert made[LINE].n_unique() == 3
    assert made[ERROR_CODE].null_count() == 3


def test_weird_ids_are_hashed_on_the_wire_only(make_pipeline: MakePipeline) -> None:
    """An id that Bedrock might not take is replaced in the record; the row keeps its own."""
    pipeline = make_pipeline(texts(2))
    made = pipeline.records.make(texts(2).with_columns(record_id=pl.Series(["call/7", "plain"])))
    assert made["record_id"].to_list() == ["call/7", "plain"]
    sent = [json.loads(line)["recordId"] for line in made[LINE]]
    assert sent[0].startswith("h")
    assert sent[1] == "plain"


def test_the_size_of_a_record_is_in_bytes(make_pipeline: MakePipeline) -> None:
    """A record of as many bytes as allowed is sent, one byte more is not; characters are not counted."""
    rows = pl.DataFrame({"text": ["漢" * 50], "record_id": ["a"]})
    size = len(make_pipeline(rows.drop("record_id"), prompt="{text}").records.make(rows)[LINE].item().encode())
    for limit, code in ((size, None), (size - 1, "record_too_large")):
        limits = {"min_records_per_job": 1, "max_bytes_per_record": limit}
        made = make_pipeline(rows.drop("record_id"), prompt="{text}", limits=limits).records.make(rows)
        assert made[ERROR_CODE].item() == code


def test_an_embedding_of_empty_text(make_pipeline: MakePipeline) -> None:
    """Null and blank texts cannot be embedded and are rejected; others are sent as they are."""
    frame = pl.DataFrame({"text": [None, "", " a "]})
    pipeline = make_pipeline(frame, task=EMBEDDING, model=TITAN)
    made = pipeline.records.make(frame.with_columns(record_id=pl.Series(["1", "2", "3"])))
    assert made[ERROR_CODE].to_list() == ["null_value", "empty_prompt", None]
    assert json.loads(made[LINE][2])["modelInput"]["inputText"] == " a "


def test_a_column_of_bytes_is_no_prompt(make_pipeline: MakePipeline) -> None:
    """A prompt over a column of bytes is refused by name rather than failing in the middle."""
    frame = pl.DataFrame({"text": [b"\xff"]})
    pipeline = make_pipeline(frame, model=HAIKU)
    with pytest.raises(PromptError, match="column 'text' holds bytes"):
        pipeline.records.make(frame.with_columns(record_id=pl.lit("a")))
