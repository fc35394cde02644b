"""The catalogue's data by themselves: every fact has a source, and no two contradict each other."""

import tomllib
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from genai_prices.data import providers

import bedrock_assets
from bedrock_assets.families import FAMILIES

CATALOGUE = tomllib.loads((Path(bedrock_assets.__file__).parent / "models" / "catalogue.toml").read_text("utf-8"))
MODELS: list[dict[str, Any]] = CATALOGUE["model"]
SOURCES: dict[str, dict[str, Any]] = CATALOGUE["sources"]
PREFIXES = {"us", "eu", "apac", "au", "jp", "ca", "in", "us-gov", "global"}
NAMED = {"id", "name", "family", "sources"}
"""What names a model is no fact about it."""


def test_every_fact_has_a_source(subtests: pytest.Subtests) -> None:
    """`all` or the key itself names a source that is there; no source is given for a fact that is not."""
    for model in MODELS:
        with subtests.test(model=model["id"]):
            told = model["sources"]
            assert set(told.values()) <= set(SOURCES)
            assert set(told) - {"all"} <= set(model)
            assert "all" in told or set(model) - NAMED <= set(told)


def test_every_source_is_used_and_dated() -> None:
    """A source says what it is, when it was read and how sure it is, and some fact rests on it."""
    assert {source for model in MODELS for source in model["sources"].values()} == set(SOURCES)
    for source in SOURCES.values():
        assert source["what"]
        assert source["date"] <= CATALOGUE["read"]
        assert source["certainty"] in ("documented", "measured", "reported")


def test_the_values_fit(subtests: pytest.Subtests) -> None:
    """Dates follow each other, limits fit into the context, and words are those that the catalogue knows."""
    for model in MODELS:
        with subtests.test(model=model["id"]):
            dates = [model[key] for key in ("launch", "legacy", "end_of_life") if key in model]
            assert all(isinstance(day, date) for day in dates)
            assert dates == sorted(dates)
            assert model.get("max_output", 1) <= model.get("context", 10**9)
            assert model.get("family", "chat") in FAMILIES
            assert set(model.get("profiles", ())) <= PREFIXES
            assert model.get("schema", ["prompt"])[-1] == "prompt"
            assert set(model.get("schema", ())) <= {"native", "tool", "prompt"}
            assert model.get("thinking", "none") in ("none", "optional", "default", "always")
            assert model.get("effort", []) == [
                level for level in ("low", "medium", "high", "xhigh", "max") if level in model.get("effort", [])
            ]
            if "forced_tool" in model.get("refuses", ()):
                assert "tool" not in model["schema"]


def test_a_model_that_runs_has_what_a_job_needs(subtests: pytest.Subtests) -> None:
    """A model that runs in batch has a family of its kind, and one that is called by profile says which there are."""
    for model in MODELS:
        with subtests.test(model=model["id"]):
            if model.get("batch"):
                assert "family" in model
            if model.get("profile"):
                assert model["profiles"]


@pytest.mark.parametrize("model", [model for model in MODELS if "price" in model], ids=lambda model: model["id"])
def test_a_price_is_only_where_there_is_none(model: dict[str, Any]) -> None:
    """Prices that genai-prices knows stand there, and nowhere else."""
    (aws,) = (provider for provider in providers if provider.id == "aws")
    assert aws.find_model(model["id"].rstrip("*")) is None
    assert model["price"]["input"] > 0


def test_no_pattern_hides_another() -> None:
    """The first match counts, so no pattern stands behind a wider one."""
    ids = [model["id"] for model in MODELS]
    hidden = [
        (first, later) for n, later in enumerate(ids) for first in ids[:n] if fnmatchcase(later.rstrip("*"), first)
    ]
    assert not hidden


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5"),
        ("anthropic.claude-opus-5", "Claude Opus 5"),
        ("anthropic.claude-opus-4-6-v1", "Claude Opus 4.6"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "Claude 3 Haiku"),
        ("amazon.nova-lite-v1:0:300k", "Nova Lite V1"),
        ("amazon.nova-2-lite-v1:0", "Nova 2 Lite"),
        ("amazon.nova-2-multimodal-embeddings-v1:0", "Amazon Nova Multimodal Embeddings"),
        ("minimax.minimax-m2.1", "MiniMax M2.1"),
        ("zai.glm-4.7-flash", "GLM 4.7 Flash"),
        ("openai.gpt-oss-safeguard-20b", "GPT OSS Safeguard 20B"),
        ("mistral.mistral-large-3-675b-instruct", "Mistral Large 3"),
        ("anthropic.claude-opus-9", None),
        ("zai.glm-9", None),
    ],
)
def test_ids_of_bedrock_find_their_model(model_id: str, name: str | None) -> None:
    """Ids as Bedrock writes them find their own entry; a model that is not out yet finds none."""
    assert next((model["name"] for model in MODELS if fnmatchcase(model_id, model["id"])), None) == name
