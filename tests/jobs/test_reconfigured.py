"""A pipeline's YAML is edited while its shards wait: nothing is sent or read under another configuration."""

from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.operations.errors import group_errors
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.publication import read_latest
from tests.labs.dispatch import Lab, open_lab

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
SCHEMA = {"topic": "string"}
EDITS: dict[str, dict[str, Any]] = {
    "model": {"targets": [{"model": SONNET}]},
    "model_invocation_type": {"model_invocation_type": "Converse"},
    "prompt": {"task": {"text": {"prompt": "Count: {transcript}", "max_tokens": 64}}},
    "parameters": {"task": {"text": {"prompt": "Summarise: {transcript}", "max_tokens": 65}}},
}


def edit(lab: Lab, change: dict[str, Any]) -> Pipeline:
    """Change the pipeline as a person does in its YAML; returns what it was."""
    before = lab.pipeline
    spec = PipelineSpec.model_validate(before.spec.model_dump(exclude_unset=True) | change)
    lab.pipeline = Pipeline(spec, before.folder)
    return before


@pytest.mark.parametrize("part", EDITS)
def test_shards_of_another_configuration_wait(tmp_path: Path, part: str) -> None:
    """No job is created with the new settings for the old prompts, and the note names what differs."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        before = edit(lab, EDITS[part])
        lab.wait_for_jobs()
        tick = lab.tick()
        assert len(lab.jobs()) == 1
        assert tick.collect_runs.run_requests == []
        assert any(f"2 shards of calls on hold: the pipeline has another {part} than" in note for note in tick.notes)
        lab.pipeline = before
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2
        assert {model for shard in lab.shards for model in lab.outputs(shard)["model_id"]} == {lab.pipeline.spec.model}


def test_old_prompts_are_not_launched_with_new_settings(tmp_path: Path) -> None:
    """A launch after the edit is refused until the prompts are made again; then rows say the new model."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ingest()
        lab.format()
        edit(lab, EDITS["model"])
        assert not lab.materialize("batch_outputs", lab.shards[0])
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert {job.model for job in lab.jobs()} == {SONNET}
        assert {model for shard in lab.shards for model in lab.outputs(shard)["model_id"]} == {SONNET}


def test_a_run_that_was_launched_before_the_edit_reads_nothing(tmp_path: Path) -> None:
    """It leaves the request open: after the change is undone the answers are collected."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        (run,) = lab.tick_only().collect_runs.run_requests
        before = edit(lab, EDITS["prompt"])
        assert lab.materialize("batch_outputs", run.partition_key, dict(run.tags))
        assert set(lab.states.values()) == {RequestState.SUBMITTED}
        lab.pipeline = before
        assert lab.materialize("batch_outputs", run.partition_key, dict(run.tags))
        assert set(lab.states.values()) == {RequestState.ANSWERED}


@pytest.mark.parametrize(("before", "after"), [("", "ai_"), ("ai_", ""), ("ai_", "ai_x_")])
def test_other_names_for_the_columns_change_no_answer(tmp_path: Path, before: str, after: str) -> None:
    """`output_prefix` is edited between two shards' answers: the table has the new names, and nothing is sent again."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None, output_prefix=before) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lab.tick()
        assert sorted(lab.states.values()) == [RequestState.ANSWERED, RequestState.SUBMITTED]
        edit(lab, {"output_prefix": after})
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        assert len(lab.jobs()) == 2

        table = read_latest(lab.store, "calls")
        assert table.columns[:3] == ["id", "transcript", f"{after}record_id"]
        assert all(name.startswith(after) for name in table.columns[3:])
        assert table[f"{after}record_id"].to_list() == [f"c{i}" for i in range(20)]
        assert table[f"{after}status"].to_list() == ["ok"] * 20
        assert group_errors(lab.store, lab.pipeline.workload) == []
