"""A backfill on a real Dagster instance with its daemon, launched as the UI does, against the emulator over HTTP."""

import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from bedrock_assets.local.stack import SENSOR_INTERVAL_S
from tests.e2e.lab import Lab, lab
from tests.metrics.test_metrics import counted, parsed

PIPELINE = "conversation_summaries"
ASSETS = ["prompt_shards", "batch_outputs", "joined_table"]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    """A lab in which one backfill over all shards has ended."""
    home: Path = tmp_path_factory.mktemp("backfill")
    with lab(home) as made:
        shards = made.materialize_raw(PIPELINE)
        made.backfill_id = made.backfill(PIPELINE, ASSETS, shards)  # type: ignore[attr-defined]
        made.ended = made.wait_for_backfill(made.backfill_id)  # type: ignore[attr-defined]
        yield made


def test_backfill_completes(done: Lab) -> None:
    """The backfill ends as COMPLETED_SUCCESS with every partition of four shards materialized and counted."""
    status, counts = done.ended  # type: ignore[attr-defined]
    assert status == "COMPLETED_SUCCESS"
    assert counts["batch_outputs"] == {"targeted": 4, "materialized": 4, "failed": 0, "running": 0}
    assert counts["joined_table"]["materialized"] == 1


def test_cap_holds_and_is_used(done: Lab) -> None:
    """With a pool limit of 2 there were never more than 2 jobs in flight, and there were 2."""
    assert done.most_in_flight == 2


def test_one_job_per_shard(done: Lab) -> None:
    """Four shards were paid four times."""
    assert len(done.jobs(PIPELINE)) == 4


def test_every_row_is_in_the_table_once(done: Lab) -> None:
    """Each input row is in the table once, in order, its columns unchanged, and the summary is of its own text."""
    table, source = done.table(PIPELINE), done.source(PIPELINE)
    assert table.select(source.columns).equals(source)
    assert table["status"].unique().to_list() == ["ok"]
    for transcript, summary in table.select("transcript", "summary").head(50).iter_rows():
        assert summary.partition('"')[2][:40].rstrip('"') in transcript.replace("\n", " ")
    assert set(table["sentiment"]) == {"positive", "neutral", "negative"}


def test_checks_pass(done: Lab) -> None:
    """The conservation checks of shards and table ran and passed."""
    for asset in ("batch_outputs", "joined_table"):
        done.until(lambda asset=asset: _check(done, asset) is not None)
        assert _check(done, asset) is True


def test_the_table_is_built_once(done: Lab) -> None:
    """The backfill built the table, and the automation condition did not build it again in the ticks since."""
    time.sleep(4 * SENSOR_INTERVAL_S)
    assert done.materialized(PIPELINE, "joined_table") == 1


def test_the_metrics_tell_of_it(done: Lab) -> None:
    """What the command prints of the stack: the sensors that a daemon evaluates, and the shards as they are now."""
    main = "from bedrock_assets.cli.app import main; main()"
    command = ["-c", main, "metrics", "--once", "--home", str(done.stack.home)]
    told = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True).stdout
    found = parsed(told)
    sensors = dict.fromkeys(["bedrock_jobs_sensor", "joined_table_sensor", "inbox_files_sensor"], 1)
    assert counted(found, "sensor_on") == sensors
    ticks = counted(found, "sensor_last_tick_timestamp_seconds")
    assert ticks.keys() == sensors.keys()
    assert all(time.time() - tick < 60 for tick in ticks.values())
    assert set(counted(found, "sensor_last_tick_status", sensor="bedrock_jobs_sensor")) <= {"skipped", "started"}
    assert counted(found, "shards", pipeline=PIPELINE) == {"answered": 4}
    assert counted(found, "up") == {"dagster": 1, "bedrock": 1, "inboxes": 1}


def test_launching_again_pays_nothing(done: Lab) -> None:
    """A second backfill over the same shards adopts the jobs that exist, and the table keeps its bytes."""
    before = (done.stack.store / PIPELINE / "table" / "part-00000.parquet").read_bytes()
    shards = list(done.instance.get_dynamic_partitions(f"{PIPELINE}_shards"))
    status, _ = done.wait_for_backfill(done.backfill(PIPELINE, ASSETS, shards))
    assert status == "COMPLETED_SUCCESS"
    assert len(done.jobs(PIPELINE)) == 4
    assert (done.stack.store / PIPELINE / "table" / "part-00000.parquet").read_bytes() == before


def _check(done: Lab, asset: str) -> bool | None:
    """Whether the last check passed; None while it is planned or running."""
    key = AssetCheckKey(AssetKey([PIPELINE, asset]), "every_row_has_one_outcome")
    records = done.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    passed = {AssetCheckExecutionRecordStatus.SUCCEEDED: True, AssetCheckExecutionRecordStatus.FAILED: False}
    return passed.get(records[0].status) if records else None
