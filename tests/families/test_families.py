"""Every registered family against its golden pair, and the parser against anything a model may say."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import ConfigError, UnknownModel
from bedrock_assets.families import FAMILIES, family_named, family_of, notices
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.pipeline.records import LINE
from tests.labs.stages import HAIKU, TITAN, MakePipeline, jsonl

GOLDEN = Path(__file__).parents[1] / "golden"
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


def task_for(name: str) -> dict[str, Any]:
    """A task of a family's kind, with every parameter that the family takes."""
    task = TASKS[FAMILIES[name].kind]
    if name.startswith("llama"):
        return {"text": {key: value for key, value in task["text"].items() if key != "stop_sequences"}}
    return {"embedding": {"column": "ask"}} if name in ("titan_embed_g1", "cohere_embed_v3") else task


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
    pipeline = make_pipeline(pl.DataFrame([ROW]), id_column="id", family=name, model="some.model", task=task_for(name))
    made = pipeline.records.make(pl.DataFrame([{**ROW, "record_id": ROW["id"]}]))
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
    task = {"text": {"prompt": "{ask}"}} if kind == "text" else task_for(name)
    pipeline = make_pipeline(pl.DataFrame([ROW]), family=name, model="some.model", task=task)
    line = pipeline.records.make(pl.DataFrame([{**ROW, "record_id": "a"}]))[LINE].item()
    assert "null" not in line
    assert not {"system", "temperature", "topP", "top_p", "stop_sequences"} & set(json.loads(line)["modelInput"])


def members(dtype: Any) -> set[str]:
    """All names in what a family reads."""
    if isinstance(dtype, pl.Struct):
        return {name for field in dtype.fields for name in (field.name, *members(field.dtype))}
    return members(dtype.inner) if isinstance(dtype, pl.List) else set()


keys = st.sampled_from(sorted({"x", "input", "float"}.union(*(members(f.output) for f in FAMILIES.values()))))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=9,
)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=24)
@given(outputs=st.lists(values, min_size=1, max_size=5), ascii_only=st.booleans())
def test_no_answer_breaks_the_parser(name: str, outputs: list[Any], ascii_only: bool) -> None:
    """Whatever JSON stands for an answer, there is one row with a status and the fixed types, or a counted line."""
    lines = [{"recordId": f"a{i}", "modelOutput": output} for i, output in enumerate(outputs)]
    answers = Answers(FAMILIES[name])
    answers.add("".join(json.dumps(line, ensure_ascii=ascii_only) + "\n" for line in lines).encode())
    rows = answers.outcomes()
    assert len(rows) + answers.n_unreadable == len(lines)
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
        ("amazon.titan-embed-text-v1", "titan_embed_g1"),
        ("amazon.titan-embed-g1-text-02", "titan_embed_g1"),
        ("amazon.titan-embed-image-v1", "titan_embed_multimodal"),
        ("amazon.titan-text-express-v1", "titan_text"),
        ("amazon.titan-tg1-large", "titan_text"),
        ("cohere.embed-multilingual-v3", "cohere_embed_v3"),
        ("us.cohere.embed-v4:0", "cohere_embed_v4"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "llama"),
        ("us.meta.llama4-scout-17b-instruct-v1:0", "llama4"),
        ("mistral.mistral-7b-instruct-v0:2", "mistral"),
        ("mistral.mixtral-8x7b-instruct-v0:1", "mistral"),
        ("mistral.mistral-large-2402-v1:0", "mistral"),
        ("mistral.mistral-large-2407-v1:0", "mistral_chat"),
        ("us.mistral.pixtral-large-2502-v1:0", "mistral_chat"),
        ("mistral.ministral-3-8b-instruct", "mistral_chat"),
        ("us.deepseek.r1-v1:0", "deepseek_r1"),
        ("deepseek.v3-v1:0", "chat"),
        ("deepseek.v3.2", "chat"),
        ("qwen.qwen3-32b-v1:0", "chat"),
        ("openai.gpt-oss-120b-1:0", "gpt_oss"),
        ("ai21.jamba-1-5-large-v1:0", "jamba"),
        ("global.amazon.nova-2-lite-v1:0", "nova_2"),
        ("amazon.nova-2-multimodal-embeddings-v1:0", "nova_embed"),
        ("zai.glm-4.7", "open_weight"),
        ("minimax.minimax-m2.1", "open_weight"),
        ("moonshot.kimi-k2-thinking", "open_weight"),
        ("moonshotai.kimi-k2.5", "open_weight"),
        ("google.gemma-3-12b-it", "open_weight"),
        ("nvidia.nemotron-nano-3-30b", "open_weight"),
        ("mistral.mistral-large-3-675b-instruct", "mistral_chat"),
        ("mistral.voxtral-small-24b-2507", "mistral_chat"),
    ],
)
def test_models_are_known_by_any_name(model: str, family: str) -> None:
    """Model ids, inference profiles of any Region and their ARNs lead to the family."""
    assert family_named(spec(model=model)).name == family


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("amazon.nova-canvas-v1:0", "answers neither with text nor with one vector"),
        ("claude", "is no model id, inference profile id or ARN"),
        ("arn:a/b", "is no model id"),
    ],
)
def test_what_is_no_model_for_batches_is_refused(model: str, reason: str) -> None:
    """An image model and a text that is no id are refused; nothing is refused only for being new."""
    with pytest.raises(UnknownModel, match=reason):
        family_of(spec(model=model))


def test_a_model_that_is_not_in_the_catalogue() -> None:
    """It is asked by Converse, with a notice that names the nearest id that is known; its vectors need a family."""
    new = spec(model="us.anthropic.claude-haiku-4-9-20270101-v1:0".replace("anthropic", "anthropics"))
    assert (family_of(new).name, new.model_invocation_type) == ("converse", "Converse")
    assert "is not in the catalogue of models" in notices(new)[0]
    with pytest.raises(ConfigError, match="it is not known how it takes texts to embed"):
        family_of(spec(model="acme.embed-v1", task=TASKS["embedding"]))
    assert notices(spec(model="acme.embed-v1", family="titan_embed_v2", task=TASKS["embedding"])) == []
    assert notices(spec(model=f"us.{HAIKU}"), date(2026, 11, 26)) == []


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
    assert family_of(spec(task=both, model="anthropic.claude-3-haiku-20240307-v1:0")).name == "anthropic"
    assert family_of(spec(task=both, model="amazon.nova-lite-v1:0")).name == "nova"
    with pytest.raises(ConfigError, match=r"dimensions: 300 is not offered .*256, 512, 1024"):
        family_of(spec(model=TITAN, task={"embedding": {"column": "ask", "dimensions": 300}}))
    nova = "amazon.nova-2-multimodal-embeddings-v1:0"
    with pytest.raises(ConfigError, match="normalize: Nova Multimodal Embeddings has no such option"):
        family_of(spec(model=nova, task={"embedding": {"column": "ask", "normalize": False}}))


@pytest.mark.parametrize("vectors", [[], [{"embedding": [0.5]}, {"embedding": [0.25]}], [None]])
def test_one_vector_is_an_answer(vectors: Any) -> None:
    """Where Nova sends no vector, or several for one text, none is taken."""
    answers = Answers(FAMILIES["nova_embed"])
    answers.add(jsonl([{"recordId": "a", "modelOutput": {"embeddings": vectors}}]))
    row = answers.outcomes().row(0, named=True)
    code = "several_answers" if len(vectors) > 1 else "unrecognised_output"
    assert (row["status"], row["error_code"], row["embedding"]) == ("error", code, None)
