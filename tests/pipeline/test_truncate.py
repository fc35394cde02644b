"""Long texts that are cut before they are embedded: the beginning is sent, and the row says so."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bedrock_assets.config.task import BYTES_PER_TOKEN, TruncateSpec
from bedrock_assets.outputs.parse import OUTCOME_COLUMNS, one_outcome_per_row
from bedrock_assets.pipeline.ids import wire_id
from bedrock_assets.pipeline.records import ERROR_CODE, ERROR_MESSAGE, LINE
from bedrock_assets.pipeline.truncate import cut
from tests.conftest import MakePipeline

TITAN = "amazon.titan-embed-text-v2:0"
NOTE = "the text has 9 characters, of which the first 4 were sent"


@given(st.lists(st.text(st.sampled_from("aé日😀\n")), min_size=1), st.integers(1, 5))
def test_it_is_the_longest_beginning_that_fits(texts: list[str], limit: int) -> None:
    """By characters, and by bytes for tokens, where a character is never cut in two; nulls stay null."""
    rows = pl.DataFrame({"text": [*texts, None]}, {"text": pl.String})
    n_bytes = limit * BYTES_PER_TOKEN
    by_bytes = [text.encode()[:n_bytes].decode(errors="ignore") for text in texts]
    made = rows.select(
        chars=cut(pl.col("text"), TruncateSpec(chars=limit)), tokens=cut(pl.col("text"), TruncateSpec(tokens=limit))
    )
    assert made["chars"].to_list() == [*(text[:limit] for text in texts), None]
    assert made["tokens"].to_list() == [*by_bytes, None]


def test_the_row_says_so(make_pipeline: MakePipeline) -> None:
    """A cut text is an answer with a note; a short one has none, and one that fails has its own message."""
    rows = pl.DataFrame({"id": ["long", "short", "failed", "null"], "text": ["some text", "text", "some text", None]})
    task = {"embedding": {"column": "text", "truncate": {"chars": 4}}}
    pipeline = make_pipeline(rows, model=TITAN, task=task)
    made = pipeline.records.make(rows.with_columns(record_id="id"))
    assert [json.loads(line)["modelInput"]["inputText"] for line in made[LINE].drop_nulls()] == ["some", "text", "some"]
    fates = made.select("record_id", code=ERROR_CODE, message=ERROR_MESSAGE, copy_of=pl.lit(None, pl.String))
    outcomes = fates.head(3).select(
        wire_id=wire_id(pl.col("record_id")),
        status=pl.Series(["ok", "ok", "error"], dtype=pl.Enum(["ok", "error"])),
        error_message=pl.Series([None, None, "throttled"]),
        retryable=pl.lit(value=False),
    )
    others = [name for name in OUTCOME_COLUMNS if name not in outcomes.columns]
    outcomes = outcomes.with_columns(pl.lit(None, pl.String).alias(name) for name in others)
    answered, _ = one_outcome_per_row(fates, outcomes, "it has ended")
    assert answered["status"].to_list() == ["ok", "ok", "error", "error"]
    assert answered["error_message"].to_list()[:3] == [NOTE, None, "throttled"]
    assert answered["error_code"].to_list() == [None, None, None, "null_value"]


def test_one_limit_is_named() -> None:
    """Characters or tokens, and not both or none."""
    for written in ({}, {"chars": 1, "tokens": 1}):
        with pytest.raises(ValidationError, match="name exactly one of chars, tokens"):
            TruncateSpec.model_validate(written)
