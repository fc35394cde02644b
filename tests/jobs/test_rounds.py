"""The next step of a pipeline that runs by itself, from what is there."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.rounds import MAX_RANGES, Rounds, ranges
from bedrock_assets.jobs.under_way import UnderWay
from tests.labs.dispatch import Lab, open_lab


def step(lab: Lab, rounds: Rounds, later: timedelta = timedelta()) -> list[dg.RunRequest] | str:
    """What the sensor does now, or some time later."""
    return rounds.next(lab.instance, UnderWay(lab.instance, datetime.now(UTC) + later))


def take(lab: Lab, rounds: Rounds) -> list[str]:
    """Take steps until there are none; the assets that they make."""
    made: list[str] = []
    while not isinstance(requests := step(lab, rounds), str):
        for request in requests:
            assert request.asset_selection
            asset = request.asset_selection[0].path[-1]
            assert lab.materialize(asset, tags=dict(request.tags))
            made.append(asset)
    return made


def rows_of(folder: Path) -> pl.DataFrame:
    """The source, to be changed."""
    return pl.read_parquet(folder / "calls.parquet")


def test_three_nights(tmp_path: Path) -> None:
    """All rows, then none, then only the rows that are new or changed are paid for; each round ends by itself."""
    with open_lab(tmp_path, n_rows=20) as lab:
        rounds = Rounds(lab.pipeline.workload)
        assert step(lab, rounds) == "raw_dataset has not been materialized"
        lab.ingest()
        assert take(lab, rounds) == ["prompt_shards", "batch_outputs"]
        assert step(lab, rounds) == "a round is under way: 2 shards wait for answers"
        lab.finish()
        assert step(lab, rounds) == "2 shards answered"
        n_paid = sum(job.n_processed for job in lab.jobs())
        assert n_paid == 20

        lab.ingest()
        assert take(lab, rounds) == []
        assert step(lab, rounds) == "2 shards answered"

        is_edited = pl.col("id").is_in([f"c{i}" for i in range(5)])
        texts = pl.when(is_edited).then(pl.format("Call {}: something else.", "id")).otherwise("transcript")
        edited = rows_of(tmp_path).with_columns(transcript=texts)
        edited.write_parquet(tmp_path / "calls.parquet")
        lab.ingest()
        assert take(lab, rounds) == ["prompt_shards", "batch_outputs"]
        lab.finish()
        assert sum(job.n_processed for job in lab.jobs()) == n_paid + 5
        assert step(lab, rounds) == "2 shards answered"


def test_only_changed_shards_are_requested(tmp_path: Path) -> None:
    """A shard whose prompts are the same is not launched again."""
    with open_lab(tmp_path, n_rows=20) as lab:
        rounds = Rounds(lab.pipeline.workload)
        lab.ingest()
        take(lab, rounds)
        lab.finish()
        changed = pl.when(pl.col("id") == "c15").then(pl.lit("Call 15 again.")).otherwise("transcript")
        rows_of(tmp_path).with_columns(transcript=changed).write_parquet(tmp_path / "calls.parquet")
        lab.ingest()
        (prompts,) = step(lab, rounds)
        assert isinstance(prompts, dg.RunRequest)
        assert lab.materialize("prompt_shards", tags=dict(prompts.tags))
        (outputs,) = step(lab, rounds)
        assert isinstance(outputs, dg.RunRequest)
        assert [outputs.tags[tag] for tag in outputs.tags if "range" in tag] == [lab.shards[1]] * 2


def test_an_edit_counts_from_the_next_round_on(tmp_path: Path) -> None:
    """Not at once, as a deploy is no order to pay; when the data are read again, all rows have new prompts."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ingest()
        take(lab, Rounds(lab.pipeline.workload))
        lab.finish()
        lab.change_prompt("Count: {transcript}")
        rounds = Rounds(lab.pipeline.workload)
        assert step(lab, rounds) == "2 shards answered"
        lab.ingest()
        assert take(lab, rounds) == ["prompt_shards", "batch_outputs"]
        lab.finish()
        assert len(lab.jobs()) == 4
        assert step(lab, rounds) == "2 shards answered"
        assert all(text.startswith("Count") for shard in lab.shards for text in lab.outputs(shard)["response"])


def test_an_edit_while_jobs_run_does_not_hold_the_next_round_up(tmp_path: Path) -> None:
    """Requests of other settings are not waited for: they are never collected."""
    with open_lab(tmp_path, n_rows=20, speed=None) as lab:
        lab.ingest()
        take(lab, Rounds(lab.pipeline.workload))
        lab.tick()
        lab.change_prompt("Count: {transcript}")
        lab.ingest()
        assert take(lab, Rounds(lab.pipeline.workload)) == ["prompt_shards", "batch_outputs"]
        lab.finish()
        assert step(lab, Rounds(lab.pipeline.workload)) == "2 shards answered"


def test_an_upstream_asset_begins_a_round(tmp_path: Path) -> None:
    """Once for each of its materializations, and not while a round is under way."""
    with open_lab(tmp_path, n_rows=20) as lab:
        upstream = dg.AssetKey("reviews")
        rounds = Rounds(lab.pipeline.workload, [upstream], follows=True)
        assert step(lab, rounds) == "raw_dataset has not been materialized"
        lab.instance.report_runless_asset_event(dg.AssetMaterialization(upstream))
        assert take(lab, rounds) == ["raw_dataset", "prompt_shards", "batch_outputs"]
        lab.instance.report_runless_asset_event(dg.AssetMaterialization(upstream))
        assert step(lab, rounds) == "a round is under way: 2 shards wait for answers"
        lab.finish()
        assert take(lab, rounds) == ["raw_dataset"], "its rows are the same"
        assert step(lab, rounds) == "2 shards answered"


def test_a_failed_shard_waits_for_the_next_round(tmp_path: Path) -> None:
    """It is not sent again and again by itself; the next reading of the data is the next try."""
    with open_lab(tmp_path, n_rows=20, faults=Faults(fail_message="no", only_names=".*00000-of.*")) as lab:
        rounds = Rounds(lab.pipeline.workload)
        lab.ingest()
        take(lab, rounds)
        lab.finish()
        assert step(lab, rounds) == "1 of 2 shards has failed; the next round, or a launch, sends them again"
        lab.emulator.set_faults(Faults())
        lab.ingest()
        assert take(lab, rounds) == ["batch_outputs"]
        lab.finish()
        assert step(lab, rounds) == "2 shards answered"


def test_a_step_that_fails_is_tried_three_times(tmp_path: Path) -> None:
    """With pauses; then a person is told."""
    with open_lab(tmp_path, n_rows=20) as lab:
        rounds, later = Rounds(lab.pipeline.workload), timedelta()
        lab.ingest()
        for _ in range(3):
            requests = step(lab, rounds, later)
            assert not isinstance(requests, str), requests
            run = dg.DagsterRun("x", status=dg.DagsterRunStatus.STARTED, tags=dict(requests[0].tags))
            lab.instance.report_run_failed(lab.instance.add_run(run), "crashed")
            assert isinstance(step(lab, rounds), str)
            later += timedelta(hours=1)
        assert step(lab, rounds, later) == (
            "3 runs of prompt_shards have failed in this round; materialize it to see why"
        )


@pytest.mark.parametrize("asset", ["raw_dataset", "prompt_shards", "batch_outputs"])
def test_a_person_s_run_is_not_disturbed(tmp_path: Path, asset: str) -> None:
    """While somebody materializes an asset of the pipeline, no step is taken."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ingest()
        selection = frozenset({dg.AssetKey(["calls", asset])})
        lab.instance.add_run(dg.DagsterRun("x", status=dg.DagsterRunStatus.STARTED, asset_selection=selection))
        assert (
            step(lab, Rounds(lab.pipeline.workload))
            == "a run of raw_dataset, prompt_shards or batch_outputs is under way"
        )


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_ranges_hold_what_is_wanted(drawn: tuple[int, set[int]]) -> None:
    """All that is wanted, nothing else unless there are many gaps, and each partition once."""
    n_keys, wanted = drawn
    keys = [f"{i:05d}" for i in range(n_keys)]
    covered: list[int] = []
    found: Sequence[tuple[str, str]] = list(ranges(keys, [keys[i] for i in wanted]))
    for first, last in found:
        covered += range(keys.index(first), keys.index(last) + 1)
    assert len(covered) == len(set(covered))
    assert wanted <= set(covered)
    assert len(found) <= MAX_RANGES
    if len(found) > 1:
        assert wanted == set(covered)
