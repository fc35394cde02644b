"""A machine out of breath: a process stands still, more people launch than there are run slots."""

from pathlib import Path

import pytest

from bedrock_assets.jobs.ledger import Ledger
from tests.campaigns.site import ASSETS, deployed
from tests.campaigns.waits import N_SHARDS, wait_for_jobs, wait_for_table
from tests.labs.short import SHORT

pytestmark = pytest.mark.slow

PAUSE_S = 75 if SHORT else 120
"""Longer than Dagster waits for a code server by default."""


@pytest.mark.parametrize("process", ["code"] if SHORT else ["code", "daemon", "emulator"])
def test_a_process_stands_still(tmp_path: Path, process: str) -> None:
    """A process that is paused while jobs run, as on a machine out of breath, comes back to all of them."""
    with deployed(tmp_path, N_SHARDS, speed=10) as made:
        shards = made.ingest()
        backfill = made.launch(shards)
        wait_for_jobs(made)
        made.pause(process, PAUSE_S)
        wait_for_table(made)
        assert made.end_of(backfill) in ("COMPLETED_SUCCESS", "FAILED")
        made.judge(N_SHARDS)


@pytest.mark.parametrize(("n_launches", "n_runs"), [(1, 1), (4, 2)] if SHORT else [(1, 4), (4, 4), (20, 4)])
def test_launches_take_all_run_slots(tmp_path: Path, n_launches: int, n_runs: int) -> None:
    """As many runs wait as there are slots, or more: all backfills complete, with nobody cancelling anything."""
    names = [f"calls{i}" for i in range(n_launches)]
    with deployed(tmp_path, 2, speed=60, names=names, n_runs=n_runs, n_slots=4) as made:
        shards = {name: made.ingest(name) for name in names}
        backfills = [made.launch(shards[name], name) for name in names]
        assert {made.end_of(backfill) for backfill in backfills} == {"COMPLETED_SUCCESS"}
        for name in names:
            made.judge(2, name)
        with made.instance() as instance:
            ledger = Ledger(names[0])
            ledger.refresh(instance)
            assert not ledger.open_entries
            assert made.materialized(ASSETS[-1], names[0]) == 1
