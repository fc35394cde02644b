"""Estimates by the model's own count of a few records, and what they fall back to, over the emulator's HTTP."""

from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.budget import estimator_of
from bedrock_assets.jobs.count_tokens import MAX_COUNTED, CountingEstimator, TokenCounter, sample_of, spread
from bedrock_assets.operations.estimate import PipelineEstimate, estimate_pipeline
from bedrock_assets.prices import Measured
from bedrock_assets.storage.manifests import InferenceMode, TokenCount
from tests.jobs.test_budget import OWN, metadata
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import HAIKU, TITAN

COUNT = frozenset({"CountTokens"})
NOVA = "us.amazon.nova-lite-v1:0"


def counter_of(lab: Lab) -> TokenCounter:
    """Asks the lab's emulator."""
    resource = lab.bedrock_resource
    return TokenCounter(lab.pipeline.spec, resource.open(lab.store), resource.open_runtime)


def estimate(lab: Lab) -> PipelineEstimate:
    """What `bedrock-assets estimate` says."""
    return estimate_pipeline(lab.pipeline, lab.store, None, counter_of(lab))


@pytest.mark.parametrize(
    "overrides",
    [{}, {"model": f"us.{HAIKU}"}, {"model_invocation_type": "Converse"}],
    ids=["id", "profile", "converse"],
)
def test_input_tokens_are_those_that_are_billed(tmp_path: Path, overrides: dict[str, Any]) -> None:
    """The model's count of a few records comes close to what all are billed; bytes alone do not. It is free."""
    with open_lab(tmp_path, n_rows=20, **overrides) as lab:
        before, by_bytes = estimate(lab), estimate_pipeline(lab.pipeline, lab.store, None)
        assert before.basis.startswith("input tokens that the model counted in 10 records, 64 tokens per answer")
        assert by_bytes.basis.startswith("3 bytes per token")
        assert lab.n_invoked == 0
        lab.ask()
        lab.finish()
        billed = sum(int(lab.outputs(shard)["input_tokens"].sum()) for shard in lab.shards)
        assert before.input_tokens == pytest.approx(billed, rel=0.02)
        assert by_bytes.input_tokens > 1.5 * billed


def test_past_answers_tell_how_long_answers_are(tmp_path: Path) -> None:
    """Input tokens are counted, output tokens calibrated."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ask()
        lab.finish()
        lab.change_prompt("In other words: {transcript}")
        found = estimate(lab)
        assert "input tokens that the model counted in 10 records" in found.basis
        assert "answers as long as those of 20 records" in found.basis
        mean = sum(int(lab.outputs(shard)["output_tokens"].sum()) for shard in lab.shards) / 20
        assert found.output_tokens == pytest.approx(20 * mean, abs=1)


@pytest.mark.parametrize(
    ("model", "faults", "reason"),
    [
        (NOVA, Faults(), "The provided model doesn't support counting tokens"),
        (HAIKU, Faults(access_denied=True, only_operations=COUNT), "AccessDeniedException"),
        (HAIKU, Faults(throttle_rate=1, only_operations=COUNT), "not reachable"),
    ],
    ids=["not supported", "denied", "throttled"],
)
def test_what_cannot_be_counted_is_estimated_as_before(tmp_path: Path, model: str, faults: Faults, reason: str) -> None:
    """The next basis is used, and the result says why the model was not asked."""
    with open_lab(tmp_path, n_rows=20, model=model, faults=faults) as lab:
        found, plain = estimate(lab), estimate_pipeline(lab.pipeline, lab.store, None)
        assert found.basis.startswith(plain.basis)
        assert reason in found.basis
        assert (found.input_tokens, found.cost_usd) == (plain.input_tokens, plain.cost_usd)


def test_a_vector_has_no_count(tmp_path: Path) -> None:
    """An embedding model does not count tokens, and is estimated by bytes."""
    task = {"embedding": {"column": "transcript", "dimensions": 256}}
    with open_lab(tmp_path, n_rows=10, model=TITAN, task=task) as lab:
        assert "3 bytes per token" in estimate(lab).basis


def test_a_launch_counts_what_it_sends(tmp_path: Path) -> None:
    """The estimate that a budget is held against, and that each shard shows, is by the model's count."""
    price = {**OWN, "output_usd_per_mtok": 0}
    with open_lab(tmp_path, n_rows=20, price=price) as lab:
        lab.ask()
        lab.finish()
        for shard in lab.shards:
            told = metadata(lab, "batch_outputs", shard)
            assert told["estimated_cost_usd"] == pytest.approx(told["cost_usd"], rel=0.05)


def test_a_sample_is_spread(tmp_path: Path) -> None:
    """Records come from the beginning, the middle and the end, of several files, and no more than the limit."""
    assert spread(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread([1, 2, 3], 16) == [1, 2, 3]
    assert spread(list[int](), 4) == []
    with open_lab(tmp_path, n_rows=100) as lab:
        lab.ingest()
        lab.format()
        keys = [file.key for file in lab.store.files("calls/prompts") if file.key.endswith(".jsonl")]
        lines = list(sample_of(lab.store, keys))
        assert len(set(lines)) == len(lines) <= MAX_COUNTED
        assert {f'"c{i}"' for i in (0, 90)} & {line.partition(":")[2].partition(",")[0] for line in lines}
        estimator = estimator_of(lab.store, lab.pipeline.workload, lab.shards)
        measured = counter_of(lab).count(iter(lines))
        assert isinstance(measured, Measured)
        assert measured.n_records == len(lines)
        tokens = CountingEstimator(estimator, measured).tokens(100, 2 * measured.n_bytes, InferenceMode.BATCH)
        assert tokens == {"batch": TokenCount(2 * measured.input_tokens, 6400)}
        assert counter_of(lab).count([]) == "there are no records"
