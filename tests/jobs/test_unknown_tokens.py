"""Models that do not tell their tokens: the manifest does, and where nobody does, no figure is made up."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.cli.status import COLUMNS
from bedrock_assets.config.pipeline import CanarySpec
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.canary import answered_canary, canary_result
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.operations.estimate import estimate_pipeline
from bedrock_assets.operations.status import shard_progress
from bedrock_assets.prices import NO_TOKENS
from bedrock_assets.storage.keys import table_manifest_key
from bedrock_assets.storage.manifests import TableManifest, TokenCount
from tests.jobs.test_budget import metadata
from tests.labs.dispatch import Lab, open_lab
from tests.metrics.test_metrics import deployment_of, sample, scrape

SILENT = {"model": "mistral.mistral-7b-instruct-v0:2"}
NO_MANIFEST = Faults(missing_manifest=True)


def launched(lab: Lab) -> dict[str, Any]:
    """What the first shard shows once all are answered."""
    lab.ask()
    assert set(lab.finish().values()) == {RequestState.ANSWERED}
    return metadata(lab, "batch_outputs", lab.shards[0])


def status_of(lab: Lab) -> list[dict[str, Any]]:
    """The progress of each shard, with the text of its cost."""
    rows, _ = shard_progress(lab.instance, lab.pipeline.spec, lab.store, None)
    return [{**dataclasses.asdict(row), "shown": COLUMNS["cost"](row)} for row in rows]


def test_the_manifest_tells(tmp_path: Path) -> None:
    """Rows have no tokens; shard, table, status, metrics and the next estimate have the manifest's."""
    with open_lab(tmp_path, n_rows=20, **SILENT) as lab:
        shown = launched(lab)
        assert lab.outputs(lab.shards[0])["input_tokens"].null_count() == 10
        assert shown["input_tokens"] > 0
        assert shown["cost_usd"] > 0
        assert "manifest_difference" not in shown
        assert lab.materialize("joined_table")
        table = metadata(lab, "joined_table")
        assert table["input_tokens"] == sum(metadata(lab, "batch_outputs", s)["input_tokens"] for s in lab.shards)
        assert table["cost_usd"] > 0
        assert all(row["cost_usd"] > 0 for row in status_of(lab))
        told = scrape(deployment_of(lab)[0])
        assert told[sample("tokens", pipeline="calls", direction="input")] == table["input_tokens"]
        basis = estimate_pipeline(lab.pipeline, lab.store, None).basis
        assert basis == "tokens of 20 answered records"


def test_nobody_tells(tmp_path: Path) -> None:
    """Shard, table, status, metrics and estimate say that tokens and cost are unknown; none of them says 0."""
    with open_lab(tmp_path, n_rows=20, faults=NO_MANIFEST, **SILENT) as lab:
        shown = launched(lab)
        assert (shown["cost"].partition(" (of this launch")[0], shown["tokens"]) == (NO_TOKENS, NO_TOKENS)
        assert not {"cost_usd", "input_tokens", "output_tokens", "tokens_per_record"} & shown.keys()
        assert lab.materialize("joined_table")
        table = metadata(lab, "joined_table")
        assert (table["cost"], table["tokens"]) == (NO_TOKENS, NO_TOKENS)
        assert not {"cost_usd", "input_tokens", "output_tokens", "mean_output_tokens"} & table.keys()
        manifest = lab.store.read_model(table_manifest_key("calls"), TableManifest)
        assert manifest is not None
        assert (manifest.tokens, manifest.mean_output_tokens) == ({"batch": TokenCount(None, None)}, None)
        assert [(row["cost_usd"], row["shown"]) for row in status_of(lab)] == [(None, "unknown")] * 2
        told = scrape(deployment_of(lab)[0])
        assert sample("rows", pipeline="calls", status="ok") in told
        assert not any("_tokens{" in name or "_cost_usd{" in name for name in told)
        estimate = estimate_pipeline(lab.pipeline, lab.store, None)
        assert "bytes per token" in estimate.basis


def test_a_budget_refuses_what_it_cannot_count(tmp_path: Path) -> None:
    """With a budget nothing more is launched once the cost of answers is unknown, and the reason is told."""
    with open_lab(tmp_path, n_rows=20, faults=NO_MANIFEST, budget_usd=100, **SILENT) as lab:
        lab.ingest()
        lab.format()
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert lab.finish() == {lab.shards[0]: RequestState.ANSWERED}
        assert not lab.materialize("batch_outputs", lab.shards[1])
        assert len(lab.jobs()) == 1


CANARY = {"rows": 10, "max_mean_output_tokens": 1000}


@pytest.mark.parametrize(("faults", "passed"), [(Faults(), True), (NO_MANIFEST, False)])
def test_a_canary_of_silent_answers(tmp_path: Path, faults: Faults, *, passed: bool) -> None:
    """The mean is the manifest's; where it is unknown a threshold for it is not met, and without one it passes."""
    with open_lab(tmp_path, n_rows=70, faults=faults, canary=CANARY, **SILENT) as lab:
        lab.ask()
        states = lab.finish()
        canary = answered_canary(lab.store, "calls", lab.shards[0])
        assert canary is not None
        result = canary_result(lab.store, lab.pipeline.workload, canary)
        assert (result.passed, result.mean_output_tokens is None) == (passed, not passed)
        assert (set(states.values()) == {RequestState.ANSWERED}) is passed
        if passed:
            return
        assert "mean_output_tokens is unknown" in (lab.ledger.entries[lab.shards[1]].message or "")
        bare = dataclasses.replace(lab.pipeline.workload, canary=CanarySpec(rows=10))
        assert canary_result(lab.store, bare, canary).passed


def test_counts_that_differ_are_shown(tmp_path: Path) -> None:
    """Lines that Bedrock has lost, which its manifest counts, are told on the shard."""
    with open_lab(tmp_path, n_rows=10, faults=Faults(missing_record_rate=0.3, seed=3), max_attempts=1) as lab:
        shown = launched(lab)
        assert "manifest.json.out counts 5 records but the output has" in shown["manifest_difference"]
