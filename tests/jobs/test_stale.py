"""Dataset or prompts change while jobs run: nothing is paid for, or joined, that is stale."""

from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.operations.status import held_back
from tests.labs.dispatch import Lab, open_lab


def test_changed_prompts_are_not_joined(tmp_path: Path) -> None:
    """Answers to prompts that have changed since are not taken; asking again sends the new prompts."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lab.change_prompt("Translate: {transcript}")
        lab.format(lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert "is stale: its prompts have changed" in (lab.ledger.entries[lab.shards[0]].message or "")
        assert not lab.store.exists(f"calls/outputs/{lab.shards[0]}.parquet")
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2


@pytest.mark.parametrize(("on_stale", "status"), [("stop", JobStatus.STOPPED), ("leave", JobStatus.COMPLETED)])
def test_stale_jobs_are_stopped_or_left(tmp_path: Path, on_stale: str, status: JobStatus) -> None:
    """A job whose prompts were edited is stopped, or left to finish, by `on_stale`; pending ones are never sent."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None, on_stale=on_stale) as lab:
        lab.ask()
        lab.tick()
        lab.change_prompt("Translate: {transcript}")
        lab.format()
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert [job.status for job in lab.jobs()] == [status]


@pytest.mark.parametrize("restarted", [False, True])
def test_replaced_request_is_dismissed(tmp_path: Path, restarted: bool) -> None:
    """New prompts asked for while the job of the old ones runs stop it, after a restart as well."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1, speed=None) as lab:
        lab.instance.event_log_storage.set_concurrency_slots("bedrock_batch", 2)
        lab.ask()
        lab.tick()
        (old,) = lab.jobs()
        lab.change_prompt("Translate: {transcript}")
        lab.format(lab.shards[0])
        assert lab.materialize("batch_outputs", lab.shards[0])
        if restarted:
            lab.ledger = Ledger("calls")
        lab.tick()
        lab.until(lambda: lab.bedrock.get(old.arn).status is JobStatus.STOPPED)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2
        assert lab.ledger.replaced == {}


def test_nothing_is_sent_while_the_dataset_is_newer(tmp_path: Path) -> None:
    """After a new ingest pending shards wait; prompts that come out the same release them, and no job is paid again."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1) as lab:
        lab.ask()
        lab.tick()
        _change_unused_column(lab)
        lab.ingest()
        lab.wait_for_jobs()
        tick = lab.tick()
        assert len(lab.jobs()) == 1
        assert any("1 shard on hold: raw_dataset is newer" in note for note in tick.notes)
        assert held_back(lab.instance, lab.pipeline.spec, lab.store) in tick.notes, "status says it too"
        lab.format()
        lab.finish()
        assert [lab.materialize("batch_outputs", shard) for shard in lab.shards] == [True, True]
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2
        assert lab.materialize("joined_table")


def test_a_grown_dataset_closes_the_old_shards(tmp_path: Path) -> None:
    """Where the dataset is cut otherwise, requests for shards that are no more are closed, and their jobs stopped."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        old, (job,) = list(lab.shards), lab.jobs()
        source = tmp_path / "calls.parquet"
        rows = pl.read_parquet(source)
        more = rows.with_columns(id="d" + pl.col("id"), transcript=pl.col("transcript") + " Again.")
        pl.concat([rows, more]).write_parquet(source)
        lab.ask()
        lab.instance.event_log_storage.set_concurrency_slots("bedrock_batch", 5)
        assert not set(lab.shards) & set(old)
        lab.until(lambda: lab.tick() is not None and not any(lab.states[shard].is_open for shard in old))
        assert lab.bedrock.get(job.arn).status is JobStatus.STOPPED
        assert {lab.finish()[shard] for shard in lab.shards} == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 1 + 4
        assert lab.materialize("joined_table")


def test_prompts_of_an_earlier_dataset_are_refused(tmp_path: Path) -> None:
    """Asking for shards whose prompts are older than the dataset fails at once, before anything is paid."""
    with open_lab(tmp_path, n_rows=10) as lab:
        lab.ingest()
        lab.format(lab.shards[0])
        _change_unused_column(lab)
        lab.ingest()
        assert not lab.materialize("batch_outputs", lab.shards[0])
        assert lab.states == {}


def _change_unused_column(lab: Lab) -> None:
    path = lab.pipeline.spec.source.path
    assert path is not None
    pl.read_parquet(path).with_columns(note=pl.lit("new")).write_parquet(path)
