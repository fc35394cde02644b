"""The event log loses runs in its ordinary care: retention, "delete run" in the UI, `dagster run wipe`."""

from pathlib import Path

from dagster import AssetKey, RunsFilter

from bedrock_assets.jobs.ledger import Ledger, RequestState
from tests.labs.dispatch import Lab, open_lab


def wipe(lab: Lab) -> None:
    """Delete all runs and events, as `dagster run wipe` does."""
    lab.instance.wipe()


def test_a_wiped_log_is_read_anew(tmp_path: Path) -> None:
    """Storage ids begin at 1 again; what is requested then is seen, adopts the jobs that run, and is answered."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        assert len(lab.jobs()) == 1
        wipe(lab)
        assert lab.states == {}
        lab.ask()
        assert set(lab.states.values()) == {RequestState.REQUESTED}
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2


def test_deleted_collect_runs_are_noticed(tmp_path: Path) -> None:
    """With the runs deleted that brought the answers, memory and log agree, and the answers are collected again."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ask()
        lab.finish()
        for record in lab.instance.get_run_records(RunsFilter(tags={"dagster/partition": lab.shards})):
            lab.instance.delete_run(record.dagster_run.run_id)
        fresh = Ledger("calls")
        fresh.refresh(lab.instance)
        anew = {shard: entry.state for shard, entry in fresh.entries.items()}
        assert lab.states == anew
        assert all(state.is_open for state in anew.values())
        lab.seen_run_keys.clear()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2
        assert len(lab.instance.get_materialized_partitions(AssetKey(["calls", "batch_outputs"]))) == 2


def test_ids_that_are_given_again_name_other_requests(tmp_path: Path) -> None:
    """A request at the storage id of a deleted one is another: what ran for that one does not count for it."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask()
        lab.ledger.refresh(lab.instance)
        (before,) = [entry.request for entry in lab.ledger.entries.values()]
        wipe(lab)
        lab.ask()
        lab.ledger.refresh(lab.instance)
        (after,) = [entry.request for entry in lab.ledger.entries.values()]
        assert before.storage_id == after.storage_id
        assert before.identity != after.identity
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def test_a_deleted_partition_keeps_its_job(tmp_path: Path) -> None:
    """No run is launched for it, others go on, a note says so; added again, its answers are collected."""
    with open_lab(tmp_path, n_rows=20, speed=None) as lab:
        lab.ask()
        lab.tick()
        first, second = lab.shards
        lab.instance.delete_dynamic_partition("calls_shards", first)
        lab.wait_for_jobs()
        tick = lab.tick()
        assert [run.partition_key for run in tick.collect_runs.run_requests] == [second]
        assert any("its partition was deleted" in note and first in note for note in tick.notes)
        assert lab.states == {first: RequestState.SUBMITTED, second: RequestState.ANSWERED}
        lab.instance.add_dynamic_partitions("calls_shards", [first])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2
