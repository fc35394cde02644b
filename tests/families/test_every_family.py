"""Every registered family against the emulator, in a batch's words and on demand: what is sent is what is answered."""

import json
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest

from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.emulator import Emulator
from bedrock_assets.emulator.replies import reply_function
from bedrock_assets.families import FAMILIES, family_of
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import LINE
from tests.labs.family_models import MODELS
from tests.labs.stages import MakePipeline

CALL = "The parcel was late. The customer asked about invoice 4711. The agent refunded the delivery fee."
ROWS = pl.DataFrame({"id": ["a", "b"], "text": [CALL, f"{CALL} <b>\u2028 漢字 🙂"]})
FIELDS: dict[str, Any] = {
    "topic": {"enum": ["billing", "delivery", "other"]},
    "words": {"list": "string", "min_items": 1},
    "score": {"type": "integer", "minimum": 1, "maximum": 5},
    "person": {"object": {"name": "string", "sure": "boolean"}, "optional": True},
}


FACTS: dict[str, Any] = {"model_facts": {"batch": True}}
"""Titan Text cannot run in a batch job any more; its format is kept for tables that were made with it."""


def pipeline_of(make_pipeline: MakePipeline, family: str, **overrides: Any) -> Pipeline:
    """A pipeline of a model that belongs to *family*."""
    task: dict[str, Any] = {"embedding": {"column": "text"}}
    if FAMILIES[family].kind == "text":
        task = {"text": {"prompt": "Summarise this call:\n\n<call>{text}</call>", "system": "Be brief."}}
    invocation = {"model_invocation_type": FAMILIES[family].invocation_type}
    found = make_pipeline(
        ROWS, id_column="id", model=MODELS[family], **{"task": task, **invocation, **FACTS, **overrides}
    )
    assert family_of(found.spec).name == family
    return found


def batch(pipeline: Pipeline) -> pl.DataFrame:
    """The answers of the emulator's models to all records, as a job writes them."""
    reply = reply_function(pipeline.spec.model, pipeline.spec.model_invocation_type)
    assert reply is not None
    answers = Answers(pipeline.family, pipeline.schema)
    for line in pipeline.records.make(ROWS.with_columns(record_id="id"))[LINE]:
        record = json.loads(line)
        body = reply(record["modelInput"], pipeline.spec.model).body
        answers.add(f'{{"recordId":"{record["recordId"]}","modelOutput":{body}}}\n'.encode())
    return answers.outcomes().sort("wire_id")


def test_each_family_has_a_model() -> None:
    """A family without a model here is not tested."""
    assert set(MODELS) == set(FAMILIES)


@pytest.mark.parametrize("family", MODELS)
def test_batch(make_pipeline: MakePipeline, family: str) -> None:
    """Each row is answered from its own text: summaries quote it, vectors have the model's own length."""
    rows = batch(pipeline_of(make_pipeline, family))
    assert rows["status"].to_list() == ["ok", "ok"]
    if FAMILIES[family].kind == "text":
        assert all("delivery fee" in text or "invoice" in text for text in rows["response"])
        assert not rows["response"].str.contains("<|think|reasoning", literal=True).any()
    else:
        lengths = {"titan_embed_g1": 1536, "cohere_embed_v4": 1536, "nova_embed": 3072}
        assert rows["embedding"].list.len().unique().to_list() == [lengths.get(family, 1024)]


@pytest.mark.parametrize("family", MODELS)
def test_on_demand(tmp_path: Path, make_pipeline: MakePipeline, family: str) -> None:
    """The same record is answered on demand over HTTP, and its line is read as a batch's is."""
    pipeline = pipeline_of(make_pipeline, family)
    line = pipeline.records.make(ROWS.with_columns(record_id="id"))[LINE][0]
    (tmp_path / "s3").mkdir()
    with Emulator(str(tmp_path / "s3"), tmp_path / "jobs.sqlite") as emulator:
        client = boto3.client(
            "bedrock-runtime",
            endpoint_url=emulator.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        told = Runtime(client).answer(pipeline.spec.model, line, pipeline.spec.model_invocation_type, final=True)
        client.close()
    answers = Answers(pipeline.family)
    answers.add(told.encode())
    answer = answers.outcomes().select(answers.answer)
    assert answer.equals(batch(pipeline).head(1).select(answers.answer))


CASES = [(name, mode) for name, family in FAMILIES.items() if family.kind == "text" for mode in family.modes]


@pytest.mark.parametrize(("family", "mode"), CASES)
def test_structured_answers(make_pipeline: MakePipeline, family: str, mode: str) -> None:
    """In each way that a family knows, the schema reaches the model and its answer becomes typed columns."""
    rows = batch(pipeline_of(make_pipeline, family, schema=FIELDS, schema_mode=mode)).unnest("fields")
    assert rows.select("status", "error_message").rows() == [("ok", None)] * 2
    assert rows.schema["words"] == pl.List(pl.String)
    assert rows.schema["person"] == pl.Struct({"name": pl.String, "sure": pl.Boolean})
    assert rows["topic"].is_in(["billing", "delivery", "other"]).all()
    assert rows["score"].is_between(1, 5).all()
    assert json.loads(rows["response"][0])["score"] == rows["score"][0]


@pytest.mark.parametrize(
    ("model", "mode"),
    [
        ("us.anthropic.claude-opus-5", "prompt"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "tool"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "tool"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", "tool"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "native"),
        ("global.anthropic.claude-opus-4-6-v1", "native"),
        ("us.amazon.nova-pro-v1:0", "tool"),
        ("qwen.qwen3-32b-v1:0", "native"),
        ("openai.gpt-oss-20b-1:0", "native"),
        ("mistral.mistral-large-2407-v1:0", "tool"),
        ("mistral.ministral-3-8b-instruct", "native"),
        ("ai21.jamba-1-5-mini-v1:0", "prompt"),
        ("us.meta.llama3-1-8b-instruct-v1:0", "prompt"),
    ],
)
def test_the_way_fits_the_model(make_pipeline: MakePipeline, model: str, mode: str) -> None:
    """`auto` takes the best way that the model is known for."""
    pipeline = make_pipeline(ROWS, model=model, schema={"score": "integer"}, **FACTS)
    assert pipeline.records.answer_format is not None
    assert pipeline.records.answer_format.mode == mode


@pytest.mark.parametrize(
    ("model", "mode"), [("us.anthropic.claude-haiku-4-5-20251001-v1:0", "native"), ("x.y-v1", "prompt")]
)
def test_the_way_fits_the_model_of_converse(make_pipeline: MakePipeline, model: str, mode: str) -> None:
    """Converse uses `outputConfig` for models that are held to a schema, and the prompt for any other."""
    pipeline = make_pipeline(ROWS, model=model, model_invocation_type="Converse", schema={"score": "integer"})
    assert pipeline.records.answer_format is not None
    assert pipeline.records.answer_format.mode == mode
