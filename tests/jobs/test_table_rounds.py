"""A table is built once for its answers, whoever builds it, and asked for again if it was not."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from bedrock_assets.jobs.table_rounds import TABLE_TAG, TableRounds
from bedrock_assets.jobs.under_way import UnderWay
from tests.labs.dispatch import Lab, open_lab

KEY = dg.AssetKey(["calls", "joined_table"])


def next_of(lab: Lab, rounds: TableRounds, later: timedelta = timedelta()) -> dg.RunRequest | str:
    """What the sensor does now, or some time later."""
    return rounds.next(lab.instance, UnderWay(lab.instance, datetime.now(UTC) + later))


def test_once_for_its_answers(tmp_path: Path) -> None:
    """Not before the last shard is answered, then once, and again when rows or answers are others."""
    with open_lab(tmp_path, n_rows=20) as lab:
        rounds = TableRounds(lab.pipeline.spec)
        assert next_of(lab, rounds) == "0 of 0 shards have answers to the prompts"
        lab.ask()
        assert next_of(lab, rounds) == "0 of 2 shards have answers to the prompts"
        lab.finish()
        request = next_of(lab, rounds)
        assert isinstance(request, dg.RunRequest)
        assert request.asset_selection == [KEY]
        assert lab.materialize("joined_table")
        assert next_of(lab, rounds) == "the table is up to date"
        lab.ingest()
        assert next_of(lab, rounds) == "the table is up to date", "the rows are the same"
        rows = pl.read_parquet(tmp_path / "calls.parquet").with_columns(note=pl.lit("new"))
        rows.write_parquet(tmp_path / "calls.parquet")
        lab.ingest()
        assert next_of(lab, rounds) == "0 of 2 shards have answers to the prompts"
        lab.format()
        again = next_of(lab, rounds)
        assert isinstance(again, dg.RunRequest), again
        assert again.run_key != request.run_key
        assert lab.materialize("joined_table")
        assert next_of(lab, rounds) == "the table is up to date"


@pytest.fixture
def done(tmp_path: Path) -> Generator[Lab]:
    """A lab whose shards are answered, without a table."""
    with open_lab(tmp_path, n_rows=20) as lab:
        lab.ask()
        lab.finish()
        yield lab


def test_a_run_that_did_not_start_is_asked_for_again(done: Lab) -> None:
    """After a pause, with another run key; after nine runs a person is told."""
    rounds, later = TableRounds(done.pipeline.spec), timedelta()
    keys = set[str | None]()
    for _ in range(9):
        request = next_of(done, rounds, later)
        assert isinstance(request, dg.RunRequest), request
        keys.add(request.run_key)
        run = dg.DagsterRun("x", status=dg.DagsterRunStatus.STARTING, tags=dict(request.tags))
        done.instance.report_run_failed(done.instance.add_run(run), "it did not start")
        told = next_of(done, rounds)
        assert isinstance(told, str)
        later += timedelta(hours=3)
    assert len(keys) == 9
    assert next_of(done, rounds, later) == (
        "9 runs that were to build the table have failed; materialize it to see why"
    )


def test_it_waits_for_a_backfill_that_builds_it(done: Lab) -> None:
    """While that is under way; not once it has ended without the table."""
    backfill = PartitionBackfill(
        backfill_id="abcdefgh",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=0.0,
        asset_selection=[KEY],
    )
    done.instance.add_backfill(backfill)
    assert next_of(done, TableRounds(done.pipeline.spec)) == "a backfill builds the table at its end"
    done.instance.update_backfill(backfill.with_status(BulkActionStatus.FAILED))
    assert isinstance(next_of(done, TableRounds(done.pipeline.spec)), dg.RunRequest)


@pytest.mark.parametrize("asset", ["joined_table", "prompt_shards"])
def test_it_waits_for_runs_of_the_table_and_its_upstream(done: Lab, asset: str) -> None:
    """A run under way makes the table, or changes what it is made of."""
    selection = frozenset({dg.AssetKey(["calls", asset])})
    run = dg.DagsterRun("x", status=dg.DagsterRunStatus.STARTED, asset_selection=selection)
    done.instance.add_run(run)
    assert (
        next_of(done, TableRounds(done.pipeline.spec)) == "a run of the table, or of what it depends on, is under way"
    )
    assert TABLE_TAG not in run.tags
