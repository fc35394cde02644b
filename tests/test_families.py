"""Every registered family against its golden pair, and the parser against anything a model may say."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.errors import ConfigError, UnknownModel
from bedrock_assets.families import FAMILIES, family_for, family_of
from bedrock_assets.outputs import Answers
from bedrock_assets.pipeline import LINE
from bedrock_assets.spec import PipelineSpec
from tests.lab import HAIKU, TITAN, MakePipeline, jsonl

GOLDEN = Path(__file__).parent / "golden"
ROW = {"id": "row_1", "role": "poet", "ask": 'Say "hi" to Zoë\n{now} \u2028 \u0085 \\ 漢字 🙂'}
TASKS: dict[str, Any] = {
    "text": {
        "text": {
            "prompt": "Reply to: {ask}",
            "system": "You are a {role}.",
            "max_tokens": 200,
            "temperature": 0.5,
            "stop_sequences": ["END", "\n\n"],
        }
    },
    "embedding": {"embedding": {"column": "ask", "dimensions": 256}},
}


def golden(family: str, name: str) -> Any:
    """One half of a family's golden pair."""
    return json.loads((GOLDEN / family / f"{name}.json").read_text("utf-8"))


def spec(**changes: Any) -> PipelineSpec:
    """A spec of a text pipeline."""
    base = {"name": "calls", "source": {"path": "x.csv"}, "model": HAIKU, "task": TASKS["text"]}
    return PipelineSpec.model_validate(base | changes)


@pytest.mark.parametrize("name", FAMILIES)
def test_request(name: str, make_pipeline: MakePipeline) -> None:
    """A fixed row becomes the golden record, byte for byte: keys in order, text raw, unset parameters left out."""
    family = FAMILIES[name]
    pipeline = make_pipeline(
        pl.DataFrame([ROW]), id_column="id", family=name, model="some.model", task=TASKS[family.kind]
    )
    made = pipeline.with_records(pl.DataFrame([{**ROW, "record_id": ROW["id"]}]))
    assert made[LINE].item() == json.dumps(golden(name, "request"), ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("name", FAMILIES)
def test_response(name: str) -> None:
    """The golden output line is read as the golden row."""
    expected = golden(name, "response")
    answers = Answers(FAMILIES[name])
    answers.add(jsonl([expected["line"]]))
    frame = answers.outcomes()
    row = frame.row(0, named=True)
    if "embedding" in row:
        assert row.pop("embedding") == pytest.approx(expected["row"].pop("embedding"))
    assert row == expected["row"]
    assert frame.schema[answers.answer] == (pl.String if FAMILIES[name].kind == "text" else pl.List(pl.Float32))


def test_golden_pairs_have_a_family() -> None:
    """No golden pair is left behind by a family that is gone."""
    assert {path.name for path in GOLDEN.iterdir()} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_unset_parameters_are_left_out(name: str, make_pipeline: MakePipeline) -> None:
    """Without a system prompt, temperature and stops the request has no such keys: a service refuses nulls."""
    kind = FAMILIES[name].kind
    task = {"text": {"prompt": "{ask}"}} if kind == "text" else TASKS[kind]
    pipeline = make_pipeline(pl.DataFrame([ROW]), family=name, model="some.model", task=task)
    line = pipeline.with_records(pl.DataFrame([{**ROW, "record_id": "a"}]))[LINE].item()
    assert "null" not in line
    assert not {"system", "temperature", "topP", "top_p", "stop_sequences"} & set(json.loads(line)["modelInput"])


ANTHROPIC_KEYS = ["content", "text", "stop_reason", "usage", "input_tokens", "output_tokens"]
NOVA_KEYS = ["output", "message", "content", "text", "stopReason", "usage", "inputTokens", "outputTokens"]
keys = st.sampled_from([*ANTHROPIC_KEYS, *NOVA_KEYS, "embedding", "inputTextTokenCount", "x"])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=9,
)


@pytest.mark.parametrize("name", FAMILIES)
@given(output=values, ascii_only=st.booleans())
def test_no_answer_breaks_the_parser(name: str, output: Any, ascii_only: bool) -> None:
    """Whatever JSON stands for the answer, there is one row with a status and the fixed types, or a counted line."""
    answers = Answers(FAMILIES[name])
    answers.add(json.dumps({"recordId": "a", "modelOutput": output}, ensure_ascii=ascii_only).encode() + b"\n")
    rows = answers.outcomes()
    assert len(rows) + answers.n_unreadable == 1
    assert rows["status"].is_in(["ok", "error"]).all()
    assert rows.filter(pl.col("status") == "error")["error_code"].null_count() == 0
    assert rows.filter(pl.col("status") == "ok")[answers.answer].null_count() == 0
    assert rows.schema == Answers(FAMILIES[name]).outcomes().schema


@pytest.mark.parametrize("embedding", [[], [None], [0.5, "x"], [0.5, 1e60], [[0.5]], "0.5", {"0": 0.5}])
def test_an_embedding_is_numbers(embedding: Any) -> None:
    """A vector that is empty or has anything but finite numbers in it is an error row, not an answer."""
    answers = Answers(FAMILIES["titan_embed_v2"])
    answers.add(jsonl([{"recordId": "a", "modelOutput": {"embedding": embedding}}]))
    row = answers.outcomes().row(0, named=True)
    assert (row["status"], row["error_code"], row["embedding"]) == ("error", "unrecognised_output", None)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        (HAIKU, "anthropic"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic"),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}", "anthropic"),
        ("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0", "nova"),
        ("us-gov.amazon.nova-pro-v1:0", "nova"),
        (TITAN, "titan_embed_v2"),
    ],
)
def test_models_are_known_by_any_name(model: str, family: str) -> None:
    """Model ids, inference profiles of any Region and their ARNs lead to the family."""
    assert family_for(model).name == family


@pytest.mark.parametrize("model", ["amazon.nova-canvas-v1:0", "meta.llama3-8b-instruct-v1:0", "claude", "", "arn:a/b"])
def test_unknown_models_are_refused(model: str) -> None:
    """A model without a family is refused, with the families and the two ways around."""
    with pytest.raises(UnknownModel, match=r"known families: anthropic, nova, .*`family:`.*Converse"):
        family_for(model)


def test_a_family_can_be_named() -> None:
    """An ARN that tells nothing takes the named family; Converse takes any model; a wrong name is refused."""
    custom = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc"
    assert family_of(spec(model=custom, family="nova")).name == "nova"
    assert family_of(spec(model=custom, model_invocation_type="Converse")).name == "converse"
    with pytest.raises(UnknownModel, match="family 'novva' is not known; choose one of: anthropic"):
        family_of(spec(family="novva"))


@pytest.mark.parametrize(("model", "kind"), [(TITAN, "text"), (HAIKU, "embedding")])
def test_the_task_is_of_the_models_kind(model: str, kind: str) -> None:
    """A text task for an embedding model is refused, and the other way round."""
    with pytest.raises(ConfigError, match=f"but the task is {kind}"):
        family_of(spec(model=model, task=TASKS[kind]))


def test_parameters_a_family_refuses() -> None:
    """What would fail every record of a paid job is refused at load."""
    both = {"text": {"prompt": "x", "temperature": 0, "top_p": 0.9}}
    with pytest.raises(ConfigError, match="temperature and top_p are both set"):
        family_of(spec(task=both))
    assert family_of(spec(task=both, model="amazon.nova-lite-v1:0")).name == "nova"
    with pytest.raises(ConfigError, match=r"dimensions: 300 is not offered .*256, 512, 1024"):
        family_of(spec(model=TITAN, task={"embedding": {"column": "ask", "dimensions": 300}}))
