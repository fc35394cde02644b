"""Known answers: told at the table, checked with thresholds, and at the canary before the rest is paid for."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import ConfigError, PromptError
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.pipeline.pipeline import Pipeline
from tests.labs.dispatch import RANGE_END_TAG, RANGE_START_TAG, Lab, open_lab

TASK = {"classify": {"text": "{transcript}", "labels": ["billing", "other"]}}


def write_gold(path: Path, n_rows: int, right: float) -> None:
    """Known answers beside the lab's rows: every other row has one, which says `billing` for a share of them."""
    known = ["billing" if i < right * n_rows else "other" for i in range(n_rows)]
    gold = [label if i % 2 == 0 else None for i, label in enumerate(known)]
    pl.read_parquet(path).with_columns(human=pl.Series(gold)).write_parquet(path)


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Lab]:
    """Forty rows that are all about invoices."""
    with open_lab(tmp_path, task=TASK, **request.param) as opened:
        yield opened


def evaluate(lab: Lab) -> dg.AssetCheckEvaluation:
    """The check of the table."""
    checks = [one for one in build_checks(lab.pipeline) if "agrees_with_gold" in {key.name for key in one.check_keys}]
    job = dg.Definitions(asset_checks=checks, resources={"bedrock_batch_store": lab.store_resource})
    result = job.resolve_implicit_global_asset_job_def().execute_in_process(instance=lab.instance)
    (found,) = result.get_asset_check_evaluations()
    return found


@pytest.mark.parametrize("lab", [{"gold": {"column": "human", "min_accuracy": 0.9}}], indirect=True)
def test_at_the_table(lab: Lab, tmp_path: Path) -> None:
    """Three of four known answers are the model's: the numbers say so, and the check tells what is below."""
    write_gold(tmp_path / "calls.parquet", 40, 0.75)
    assert evaluate(lab).metadata["missing"].value == "joined_table"
    lab.ask_in_runs()
    assert set(lab.finish().values()) == {RequestState.ANSWERED}
    assert lab.materialize("joined_table")
    event = lab.instance.get_latest_materialization_event(dg.AssetKey(["calls", "joined_table"]))
    assert event
    assert event.asset_materialization
    told = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert (told["gold_rows"], told["gold_accuracy"], told["gold_unanswered"]) == (20, 0.75, 0)
    assert told["gold_accuracy_95"] == "0.531 to 0.888, 95 % confidence"
    assert "| other | 5 | 0 | 0 |" in told["gold_labels"]
    assert "| other | 5 | 0 |" in told["gold_confusion"]
    check = evaluate(lab)
    assert (check.passed, check.description) == (False, "accuracy is 0.75, below 0.9")
    assert "c30" in str(check.metadata["disagreements"].value)
    lab.pipeline = Pipeline(
        lab.pipeline.spec.model_copy(update={"gold": lab.pipeline.spec.gold.model_copy(update={"min_accuracy": 0.7})}),
        lab.pipeline.folder,
    )
    assert evaluate(lab).passed


@pytest.mark.parametrize(
    "lab",
    [{"gold": {"column": "human", "min_accuracy": 0.9}, "n_rows": 150, "canary": {"rows": 64}}],
    indirect=True,
)
def test_at_the_canary(lab: Lab, tmp_path: Path) -> None:
    """A canary whose answers are wrong keeps the others from being sent; with better known answers they go."""
    write_gold(tmp_path / "calls.parquet", 150, 0)
    lab.ask_in_runs()
    states = lab.finish()
    assert states.pop(lab.shards[0]) == RequestState.ANSWERED
    assert set(states.values()) == {RequestState.FAILED}
    assert len(lab.jobs()) == 1
    assert all("accuracy is 0, below 0.9" in (lab.ledger.entries[shard].message or "") for shard in states)


@pytest.mark.parametrize("lab", [{"n_rows": 150, "canary": {"rows": 64}}], indirect=True)
def test_named_before_the_dataset_has_it(lab: Lab) -> None:
    """`gold` is added while shards wait: ticks go on, nothing more is sent, and the table says what to do."""
    lab.ask_in_runs()
    lab.tick()
    lab.wait_for_jobs()
    spec = lab.pipeline.spec.model_dump(by_alias=True, exclude_unset=True)
    gold = {"column": "human", "min_accuracy": 0.9}
    lab.pipeline = Pipeline(PipelineSpec.model_validate({**spec, "gold": gold}), lab.pipeline.folder)
    states = lab.finish()
    assert states.pop(lab.shards[0]) == RequestState.ANSWERED
    assert set(states.values()) == {RequestState.FAILED}
    assert all("'human' is not in raw_dataset yet" in (lab.ledger.entries[shard].message or "") for shard in states)
    lab.pipeline = Pipeline(PipelineSpec.model_validate(spec), lab.pipeline.folder)
    span = {RANGE_START_TAG: lab.shards[1], RANGE_END_TAG: lab.shards[-1]}
    assert lab.materialize("batch_outputs", tags=span)
    assert set(lab.finish().values()) == {RequestState.ANSWERED}
    assert lab.materialize("joined_table")
    lab.pipeline = Pipeline(PipelineSpec.model_validate({**spec, "gold": gold}), lab.pipeline.folder)
    check = evaluate(lab)
    assert (check.passed, "no column 'human' yet" in (check.description or "")) == (False, True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gold": "transcript"}, "the prompt shows 'transcript' to the model"),
        (
            {"gold": {"column": "human", "answer": "lable"}},
            "answer 'lable' is no answer column of calls; there are: label",
        ),
        (
            {"gold": "human", "task": {"text": {"prompt": "{x}"}}, "schema": {"a": "string", "b": "string"}},
            "several answers; name one with `answer`: a, b",
        ),
        (
            {"gold": "human", "task": {"embedding": {"column": "x"}}, "model": "amazon.titan-embed-text-v2:0"},
            "which are not compared",
        ),
    ],
)
def test_what_is_refused_at_load(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    """Before anything is read."""
    spec = {
        "name": "calls",
        "source": {"path": "a.csv"},
        "model": "us.amazon.nova-2-lite-v1:0",
        "task": TASK,
        **changes,
    }
    with pytest.raises(ConfigError, match=told):
        _ = Pipeline(PipelineSpec.model_validate(spec), tmp_path).workload


@pytest.mark.parametrize("lab", [{"gold": "human"}], indirect=True)
def test_a_column_that_is_not_there(lab: Lab) -> None:
    """Is told before anything is written."""
    with pytest.raises(PromptError, match=r"gold\.column 'human' is not in the dataset; it has: id, transcript"):
        lab.pipeline.check_columns(["id", "transcript"])
    assert not lab.materialize("raw_dataset")
