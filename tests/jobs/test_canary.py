"""The canary: a first small shard is sent alone, and the others once its answers keep the thresholds."""

from itertools import accumulate
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.config.pipeline import CanarySpec
from bedrock_assets.dataset.plan import Block, plan_with_canary
from bedrock_assets.emulator import Faults
from bedrock_assets.errors import DataError, TooFewRecords
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.limits import JobLimits
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import MakePipeline

LIMITS = JobLimits(min_records_per_job=10, max_records_per_job=500)
CANARY = {"rows": 64, "max_error_rate": 0.2}
LAB = {"n_rows": 150, "limits": {"max_records_per_job": 50, "min_records_per_job": 2, "max_jobs": 5}}


@given(st.lists(st.integers(1, 64), min_size=1, max_size=60), st.integers(1, 300))
def test_the_plan_covers_every_row(sizes: list[int], rows: int) -> None:
    """The canary has the rows that were asked for, or up to a block more; nothing is left out, and no job too large."""
    blocks = [Block(n, n, n) for n in sizes]
    try:
        shards = plan_with_canary(blocks, LIMITS, "error", CanarySpec(rows=rows))
    except DataError:
        return
    assert [shard.offset for shard in shards] == [sum(s.n_rows for s in shards[:i]) for i in range(len(shards))]
    assert sum(shard.n_rows for shard in shards) == sum(sizes)
    assert all(10 <= shard.n_rows <= 500 for shard in shards)
    assert [shard.key for shard in shards] == [f"{i:05d}-of-{len(shards):05d}" for i in range(len(shards))]
    reached = [n for n in accumulate(sizes) if n >= rows]
    if reached and reached[0] < sum(sizes):
        assert shards[0].n_rows == reached[0]


def test_a_canary_that_is_too_small_for_a_job_is_told() -> None:
    """Where small shards are refused, so is a small canary, before anything is written."""
    with pytest.raises(TooFewRecords, match=r"canary\.rows: the first 5 rows"):
        plan_with_canary([Block(5, 5, 5), Block(64, 64, 64)], LIMITS, "error", CanarySpec(rows=5))


def test_a_number_alone(make_pipeline: MakePipeline) -> None:
    """`canary: 200` is short for its rows."""
    pipeline = make_pipeline(pl.DataFrame({"text": ["a"]}), canary=200)
    assert pipeline.spec.canary == CanarySpec(rows=200)


def check(lab: Lab) -> dg.AssetCheckEvaluation:
    """Evaluate the check of the canary."""
    (definition,) = [c for c in build_checks(lab.pipeline) if "canary" in {key.name for key in c.check_keys}]
    job = dg.Definitions(asset_checks=[definition], resources={"bedrock_batch_store": lab.store_resource})
    result = job.resolve_implicit_global_asset_job_def().execute_in_process(instance=lab.instance)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_the_others_wait(tmp_path: Path) -> None:
    """As long as the canary is not answered nothing else is sent, however many slots are free; then everything is."""
    with open_lab(tmp_path, speed=None, canary=CANARY, **LAB) as lab:
        lab.ask()
        for _ in range(2):
            tick = lab.tick()
            assert len(lab.jobs()) == 1
            assert any(f"{len(lab.shards) - 1} shards wait for the canary" in note for note in tick.notes)
        assert not check(lab).passed
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert check(lab).passed
        assert lab.materialize("joined_table")


def test_the_others_are_refused(tmp_path: Path) -> None:
    """Where too many of the canary's rows fail, the other shards fail unpaid and say why; then they can be launched."""
    faults = Faults(record_error_rate=0.5, record_error_code=400, record_error_message="refused")
    with open_lab(tmp_path, faults=faults, canary=CANARY, **LAB) as lab:
        lab.ask()
        states = lab.finish()
        assert states.pop(lab.shards[0]) is RequestState.ANSWERED
        assert set(states.values()) == {RequestState.FAILED}
        assert len(lab.jobs()) == 1
        assert "error_rate is 0." in (lab.ledger.entries[lab.shards[1]].message or "")
        assert "above 0.2" in (check(lab).description or "")
        lab.emulator.set_faults(Faults())
        lab.change_prompt("Better: {transcript}")
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_without_the_canary_nothing_is_sent(tmp_path: Path) -> None:
    """Launching other shards alone fails them, and tells to launch the canary."""
    with open_lab(tmp_path, canary=CANARY, **LAB) as lab:
        lab.ingest()
        lab.format(lab.shards[1])
        assert lab.materialize("batch_outputs", lab.shards[1])
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert lab.jobs() == []
        assert "it was not launched" in (lab.ledger.entries[lab.shards[1]].message or "")
