"""Prices, estimates, budgets and what was paid: figures with a source, and none that nobody knows."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.prices import Estimator, Measured, Price, price_of
from bedrock_assets.storage.keys import outputs_key, table_manifest_key
from bedrock_assets.storage.manifests import InferenceMode, OutputFacts, TableManifest, TokenCount
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import HAIKU, TITAN

CLAUDE_3 = "anthropic.claude-3-haiku-20240307-v1:0"
OWN = {"input_usd_per_mtok": 100_000, "output_usd_per_mtok": 200_000}


def spec(**changes: Any) -> PipelineSpec:
    """A spec with a text task."""
    base = {"name": "calls", "source": {"path": "x.csv"}, "model": HAIKU, "task": {"text": {"prompt": "{x}"}}}
    return PipelineSpec.model_validate(base | changes)


def metadata(lab: Lab, asset: str, shard: str | None = None) -> dict[str, Any]:
    """What the last materialization tells."""
    events = lab.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(["calls", asset]), asset_partitions=[shard] if shard else None), limit=1
    )
    (record,) = events.records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_prices_are_those_of_the_list() -> None:
    """A model id, an inference profile and an ARN have the price of their model, halved in batch."""
    for model in (CLAUDE_3, f"us.{CLAUDE_3}", f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE_3}"):
        price = price_of(spec(model=model))
        assert price is not None
        assert price.cost_usd({"batch": TokenCount(1_000_000, 1_000_000)}) == (0.25 + 1.25) / 2
        assert price.cost_usd({"on_demand": TokenCount(1_000_000, 0), "batch": TokenCount(2_000_000, 0)}) == 0.25 + 0.25
        assert "genai-prices" in price.source


def test_a_price_of_ones_own_wins() -> None:
    """`price:` holds whatever the list says; a model that nobody knows has no price, rather than none to pay."""
    assert price_of(spec(price=OWN)) == Price(100_000, 200_000, 0.5, "the pipeline's `price:`")
    assert price_of(spec(model="acme.unheard-of-v1", family="nova")) is None


def test_estimates_learn_from_what_was_measured() -> None:
    """Without a measurement the bytes and the most tokens count; with one, its ratios."""
    assert Estimator(Measured(), 100).tokens(10, 3000, InferenceMode.BATCH) == {"batch": TokenCount(1000, 1000)}
    measured = Measured(n_bytes=1000, n_records=10, input_tokens=200, output_tokens=50)
    assert Estimator(measured, 100).tokens(40, 5000, InferenceMode.ON_DEMAND) == {"on_demand": TokenCount(1000, 200)}


def test_a_budget_is_kept_before_the_first_job(tmp_path: Path) -> None:
    """A launch that may cost more than the budget fails; nothing is asked for, nothing sent."""
    with open_lab(tmp_path, n_rows=20, price=OWN, budget_usd=1) as lab:
        lab.ingest()
        lab.format(lab.shards[0])
        assert not lab.materialize("batch_outputs", lab.shards[0])
        assert (lab.states, lab.jobs()) == ({}, [])


def test_what_was_paid_counts_for_the_budget(tmp_path: Path) -> None:
    """One shard fits the budget and a second does not, by what the first has cost."""
    task = {"text": {"prompt": "Summarise: {transcript}", "max_tokens": 4}}
    price = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 200_000}
    with open_lab(tmp_path, n_rows=20, task=task, price=price, budget_usd=6) as lab:
        lab.ingest()
        lab.format()
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert lab.finish() == {lab.shards[0]: RequestState.ANSWERED}
        spent = metadata(lab, "batch_outputs", lab.shards[0])["cost_usd"]
        assert spent == 10 * 4 * 0.2 / 2
        assert not lab.materialize("batch_outputs", lab.shards[1])
        assert lab.materialize("batch_outputs", lab.shards[0]), "what is paid already costs nothing again"


@pytest.mark.parametrize("inference_mode", [InferenceMode.BATCH, InferenceMode.ON_DEMAND])
def test_costs_are_told(tmp_path: Path, inference_mode: InferenceMode) -> None:
    """Shard and table say what they cost, by the tokens the model reported, beside the estimate and its source."""
    limits = {
        "max_records_per_job": 10,
        "min_records_per_job": 2 if inference_mode is InferenceMode.BATCH else 10_000,
        "max_jobs": 1,
    }
    limits["max_records_per_job"] = max(limits["max_records_per_job"], limits["min_records_per_job"])
    with open_lab(tmp_path, n_rows=10, price=OWN, limits=limits) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        rows = lab.outputs(lab.shards[0])
        n_input, n_output = rows["input_tokens"].sum(), rows["output_tokens"].sum()
        expected = (n_input * 0.1 + n_output * 0.2) * (0.5 if inference_mode is InferenceMode.BATCH else 1)
        told = metadata(lab, "batch_outputs", lab.shards[0])
        assert told["cost_usd"] == pytest.approx(expected, rel=1e-5)
        assert told["estimated_cost_usd"] > 0
        assert metadata(lab, "joined_table")["cost_usd"] == pytest.approx(expected, rel=1e-5)
        facts = OutputFacts.model_validate(lab.store.parquet_facts(outputs_key("calls", lab.shards[0])))
        table = lab.store.read_model(table_manifest_key("calls"), TableManifest)
        assert table is not None
        assert facts.tokens == table.tokens == {inference_mode.value: TokenCount(n_input, n_output)}


def test_an_unknown_price_is_told_as_such(tmp_path: Path) -> None:
    """No cost is shown rather than 0, and a budget without a price refuses the launch."""
    unknown = {"model": "amazon.nova-unheard-of-v1:0", "n_rows": 10}
    with open_lab(tmp_path, **unknown) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        told = metadata(lab, "batch_outputs", lab.shards[0])
        assert "unknown" in told["cost"]
        assert "cost_usd" not in told
    (tmp_path / "b").mkdir()
    with open_lab(tmp_path / "b", budget_usd=1, **unknown) as lab:
        lab.ingest()
        lab.format(lab.shards[0])
        assert not lab.materialize("batch_outputs", lab.shards[0])


def test_embeddings_have_no_output_to_pay(tmp_path: Path) -> None:
    """Their estimate counts input alone."""
    task = {"embedding": {"column": "transcript", "dimensions": 256}}
    with open_lab(tmp_path, n_rows=10, model=TITAN, task=task, price=OWN) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        told = metadata(lab, "batch_outputs", lab.shards[0])
        assert told["cost_usd"] == pytest.approx(told["input_tokens"] * 0.1 / 2, rel=1e-5)
