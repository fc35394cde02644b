"""Tokens that records do not tell, and counts that differ: what the job's own manifest is read for."""

import json
from typing import Any

import polars as pl
import pytest

from bedrock_assets.outputs.collect import Collected
from bedrock_assets.outputs.job_manifest import AttemptRead, JobManifest, paid_tokens
from bedrock_assets.prices import Price, price_of, total_of
from bedrock_assets.storage.manifests import OutputFacts, TokenCount
from bedrock_assets.storage.store import Store
from tests.labs.stages import MakePipeline, Stages, failed, jsonl, texts

MISTRAL = "mistral.mistral-7b-instruct-v0:2"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SUMS = {"totalRecordCount": 4, "successRecordCount": 4, "inputTokenCount": 400, "outputTokenCount": 40}


def yes(record_id: str, text: str = "yes") -> dict[str, Any]:
    """A line of a model that does not tell tokens."""
    return {"recordId": record_id, "modelOutput": {"outputs": [{"text": text, "stop_reason": "stop"}]}}


def claude(record_id: str, usage: dict[str, int] | None) -> dict[str, Any]:
    """A line of Claude."""
    content = [{"type": "text", "text": "ok"}]
    return {"recordId": record_id, "modelOutput": {"content": content, "stop_reason": "end_turn", "usage": usage}}


@pytest.fixture
def stages(make_pipeline: MakePipeline, store: Store) -> Stages:
    """Four rows for a model that does not tell tokens."""
    return Stages.of(make_pipeline(texts(4), id_column="id", model=MISTRAL), store)


def collect(stages: Stages, lines: list[dict[str, Any]], manifest: dict[str, Any] | None) -> Collected:
    """The answers of a job with that output."""
    stages.write(jsonl(lines), manifest=None if manifest is None else json.dumps(manifest).encode())
    return stages.collect()


def test_the_manifest_has_the_sums(stages: Stages) -> None:
    """Rows have no tokens, the shard has the manifest's, and they are what the outputs' own facts say."""
    collected = collect(stages, [yes(i) for i in stages.ids()], SUMS)
    assert collected.rows["input_tokens"].to_list() == [None] * 4
    assert collected.tokens == {"batch": TokenCount(400, 40)}
    facts = OutputFacts(fingerprint="x", version="y", tokens=dict(collected.tokens))
    assert OutputFacts.model_validate_json(facts.model_dump_json()).tokens == collected.tokens
    price = price_of(stages.pipeline.spec)
    assert price is not None
    assert price.cost_usd(collected.tokens) == pytest.approx((400 * 0.15 + 40 * 0.2) / 2 / 1e6)


@pytest.mark.parametrize("manifest", [None, {}, {"totalRecordCount": 4}])
def test_nobody_tells(stages: Stages, manifest: dict[str, Any] | None) -> None:
    """Without sums the tokens are unknown, and so is their cost; they are not 0."""
    collected = collect(stages, [yes(i) for i in stages.ids()], manifest)
    assert collected.tokens == {"batch": TokenCount(None, None)}
    price = price_of(stages.pipeline.spec)
    assert price is not None
    assert (price.cost_usd(collected.tokens), price.most_usd(collected.tokens)) == (None, None)


def test_errors_cost_nothing(stages: Stages) -> None:
    """Rows that Bedrock refused do not make tokens unknown."""
    collected = collect(stages, [failed(i) for i in stages.ids()], None)
    assert collected.tokens == {"batch": TokenCount(0, 0)}


def test_a_job_of_several_shards(stages: Stages) -> None:
    """A shard is given its share of the records of a job that answered others too."""
    lines = [yes(i) for i in stages.ids()] + [yes(f"other{i}") for i in range(12)]
    collected = collect(stages, lines, SUMS | {"totalRecordCount": 16, "successRecordCount": 16})
    assert collected.tokens == {"batch": TokenCount(100, 10)}


def test_one_record_that_does_not_tell(make_pipeline: MakePipeline, store: Store) -> None:
    """Where one record is silent the manifest counts for all, or else all are unknown."""
    for manifest, expected in ((SUMS, TokenCount(400, 40)), (None, TokenCount(None, None))):
        stages = Stages.of(make_pipeline(texts(4), id_column="id"), store)
        first, *others = stages.ids()
        lines = [claude(first, None), *(claude(i, {"input_tokens": 5, "output_tokens": 1}) for i in others)]
        assert collect(stages, lines, manifest).tokens == {"batch": expected}
        store.delete([file.key for file in store.files("calls") if file.key.endswith("manifest.json.out")])


def test_several_attempts(stages: Stages) -> None:
    """Each attempt's manifest counts for its own answers."""
    first, *others = stages.ids()
    stages.write(jsonl([yes(i) for i in others] + [failed(first, 500)]), manifest=json.dumps(SUMS).encode())
    second = {"totalRecordCount": 1, "inputTokenCount": 7, "outputTokenCount": 1}
    stages.write(jsonl([yes(first)]), attempt=2, manifest=json.dumps(second).encode())
    assert stages.collect(attempt=2).tokens == {"batch": TokenCount(407, 41)}


def test_caches_count(make_pipeline: MakePipeline, store: Store) -> None:
    """What was read from a cache or written to one is input, at its own price."""
    stages = Stages.of(make_pipeline(texts(1), id_column="id", model=CLAUDE), store)
    usage = {"input_tokens": 12, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 20_000}
    collected = collect(stages, [claude(stages.ids()[0], {**usage, "output_tokens": 5})], None)
    assert collected.rows["input_tokens"].to_list() == [21_012]
    assert collected.tokens == {"batch": TokenCount(21_012, 5, 20_000, 1000)}
    price = price_of(stages.pipeline.spec)
    assert price is not None
    expected = (12 * 1.1 + 20_000 * 0.11 + 1000 * 1.375 + 5 * 5.5) / 2 / 1e6
    assert price.cost_usd(collected.tokens) == pytest.approx(expected)
    own = Price(1.0, 2.0, 0.5, "mine").cost_usd({"on_demand": TokenCount(1000, 0, 400, 100)})
    assert own == pytest.approx(0.001), "without a price of its own a cached token costs as much as another"


@pytest.mark.parametrize("names", [("cacheReadInputTokens", "cacheWriteInputTokens"), ("cacheReadInputTokenCount", "")])
def test_caches_of_converse(make_pipeline: MakePipeline, store: Store, names: tuple[str, str]) -> None:
    """Converse and Nova name them in their own ways; the manifest has its own keys."""
    converse = {"model": CLAUDE, "model_invocation_type": "Converse"}
    stages = Stages.of(make_pipeline(texts(1), id_column="id", **converse), store)
    usage = {"inputTokens": 5, "outputTokens": 1, names[0]: 100, names[1] or "x": 7}
    output = {"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "end_turn", "usage": usage}
    collected = collect(stages, [{"recordId": stages.ids()[0], "modelOutput": output}], None)
    n_written = 7 if names[1] else 0
    assert collected.tokens == {"batch": TokenCount(105 + n_written, 1, 100, n_written)}
    told = {
        "inputTokenCount": 10,
        "outputTokenCount": 2,
        "cacheReadInputTokenCount": 40,
        "cacheWriteInputTokenCount": 4,
    }
    assert JobManifest.model_validate(told).tokens(0.5) == TokenCount(27, 1, 20, 2)


@pytest.mark.parametrize(
    ("manifest", "difference"),
    [
        ({"totalRecordCount": 4, "successRecordCount": 3, "errorRecordCount": 1}, ""),
        ({}, ""),
        (
            {"totalRecordCount": 1000, "successRecordCount": 4},
            "manifest.json.out counts 1,000 records but the output has 4 lines, and 4 successes but the output has 3 "
            "answers",
        ),
        ({"successRecordCount": 1}, "manifest.json.out counts 1 successes but the output has 3 answers"),
    ],
)
def test_counts_are_held_against_ours(stages: Stages, manifest: dict[str, Any], difference: str) -> None:
    """A difference between the manifest and the output is told."""
    first, *others = stages.ids()
    collected = collect(stages, [failed(first), *(yes(i) for i in others)], manifest)
    assert collected.difference == difference


def test_sums_keep_what_is_unknown() -> None:
    """One unknown count makes a sum unknown, on its side alone."""
    tokens = {"batch": TokenCount(5, None), "on_demand": TokenCount(1, 2)}
    assert total_of(tokens) == TokenCount(6, None)
    assert not total_of(tokens).is_known
    assert total_of({}) == TokenCount(0, 0)


def test_old_facts_are_read() -> None:
    """Outputs of earlier versions have pairs."""
    old = OutputFacts.model_validate({"fingerprint": "x", "version": "y", "tokens": {"batch": [10, 3]}})
    assert old.tokens == {"batch": TokenCount(10, 3)}


def test_a_silent_model_of_several() -> None:
    """What one model does not tell leaves the other model's tokens known."""
    rows = pl.DataFrame(
        {
            "answer_source": ["batch", "batch"],
            "model_id": ["one", "two"],
            "status": ["ok", "ok"],
            "error_code": pl.Series([None, None], dtype=pl.String),
            "attempt": [1, 2],
            "input_tokens": [5, None],
            "output_tokens": [1, None],
            "cache_read_tokens": pl.Series([None, None], dtype=pl.Int64),
            "cache_write_tokens": pl.Series([None, None], dtype=pl.Int64),
        }
    )
    expected = {"batch": TokenCount(5, 1), "batch two": TokenCount(None, None)}
    assert paid_tokens(rows, "one", {}) == expected
    known = {2: AttemptRead(1, 1, JobManifest.model_validate({"inputTokenCount": 9, "outputTokenCount": 2}))}
    assert paid_tokens(rows, "one", known)["batch two"] == TokenCount(9, 2)
