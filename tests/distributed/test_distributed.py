"""Many processes on PostgreSQL: two code servers, four run workers at once, forty shards, one pool."""

import re
import time
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.storage.dagster_run import RunRecord

from bedrock_assets.local.stack import store_folder
from tests.distributed.site import N_WORKERS, SLOTS, Site, site
from tests.labs.short import SHORT
from tests.soak.definitions import SPECS, source_of

pytestmark = pytest.mark.slow

N_SHARDS = 8 if SHORT else 20
"""Of each of the two pipelines."""
ASSETS = ["prompt_shards", "batch_outputs", "joined_table"]
PATIENCE_S = 900


@dataclass
class Done:
    """A site whose two backfills have ended."""

    site: Site
    instance: DagsterInstance
    backfills: dict[str, str]
    statuses: dict[str, tuple[str, dict[str, dict[str, int]]]]

    def collect_runs(self, pipeline: str) -> list[RunRecord]:
        """The runs that the sensor has launched."""
        return list(self.instance.get_run_records(RunsFilter(job_name=f"{pipeline}_collect")))

    def most_at_once(self, run_ids: Sequence[str]) -> int:
        """How many runs were under way at once, from the launch of their processes to their ends."""
        stats = [self.instance.get_run_stats(run_id) for run_id in run_ids]
        edges = [(at or 0, step) for each in stats for at, step in ((each.launch_time, 1), (each.end_time, -1))]
        return max(accumulate(step for _, step in sorted(edges)))

    def pid(self, record: RunRecord) -> int:
        """The process that a run was executed by."""
        messages = [entry.message or "" for entry in self.instance.all_logs(record.dagster_run.run_id)]
        return next(int(found[1]) for message in messages if (found := re.search(r"pid: (\d+)", message)))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Generator[Done]:
    """Both pipelines, launched together."""
    with site(tmp_path_factory.mktemp("site"), N_SHARDS) as (made, instance):
        launched: dict[str, str] = {}
        for name in SPECS:
            ui = made.ui(name)
            run_id = ui.materialize([name, "raw_dataset"])
            assert ui.wait_for_run(run_id) == "SUCCESS", ui.failures(run_id)
            shards = list(instance.get_dynamic_partitions(f"{name}_shards"))
            config = {"ops": {f"{name}__batch_outputs": {"config": {"poll_s": 2.0, "queued_s": PATIENCE_S}}}}
            launched[name] = ui.backfill([[name, asset] for asset in ASSETS], shards, config)
        statuses = {name: wait_for(made, name, backfill) for name, backfill in launched.items()}
        yield Done(made, instance, launched, statuses)


def wait_for(made: Site, name: str, backfill: str) -> tuple[str, dict[str, dict[str, int]]]:
    """Status and counts with which a backfill ends."""
    deadline = time.monotonic() + PATIENCE_S
    while (ended := made.ui(name).backfill_status(backfill))[0] in ("REQUESTED", "CANCELING", "FAILING"):
        made.require_alive()
        assert time.monotonic() < deadline, ended
        time.sleep(1)
    return ended


@pytest.mark.parametrize("pipeline", SPECS)
def test_the_backfill_completes(done: Done, pipeline: str) -> None:
    """All partitions of both are materialized and counted, and each table is built once."""
    status, counts = done.statuses[pipeline]
    assert status == "COMPLETED_SUCCESS"
    assert counts["batch_outputs"] == {"targeted": N_SHARDS, "materialized": N_SHARDS, "failed": 0, "running": 0}
    assert counts["joined_table"]["materialized"] == 1


def test_the_cap_holds_across_code_servers(done: Done) -> None:
    """Both locations' sensors submit under one pool: never more jobs in flight than its limit, and as many as it."""
    assert done.site.most_in_flight == SLOTS


@pytest.mark.parametrize("pipeline", SPECS)
def test_every_row_is_in_the_table_once(done: Done, pipeline: str) -> None:
    """Rows in = rows out, in order, each answered."""
    table = done.site.table(pipeline)
    assert table["id"].to_list() == [row["id"] for row in source_of(pipeline, N_SHARDS)]
    assert table["status"].unique().to_list() == ["ok"]


@pytest.mark.parametrize("pipeline", SPECS)
def test_no_shard_is_done_twice(done: Done, pipeline: str) -> None:
    """A shard had one job, one run that collected it, which succeeded, and one materialization."""
    prefix = f"ba-{pipeline.replace('_', '-')}-"
    jobs = [job for job in done.site.bedrock.list() if job.name.startswith(prefix)]
    runs = [record.dagster_run for record in done.collect_runs(pipeline)]
    made = done.instance.fetch_materializations(AssetKey([pipeline, "batch_outputs"]), limit=1000).records
    shards = done.instance.get_dynamic_partitions(f"{pipeline}_shards")
    assert len(jobs) == len(shards) == N_SHARDS
    assert {run.status for run in runs} == {DagsterRunStatus.SUCCESS}
    assert Counter(run.tags["dagster/partition"] for run in runs) == Counter(shards)
    assert Counter(record.partition_key for record in made) == Counter(shards)


@pytest.mark.parametrize("pipeline", SPECS)
def test_the_tables_work_is_spread_too(done: Done, pipeline: str) -> None:
    """Each part of the table was made by the run that brought its answers: the table's run made none."""
    parts = store_folder(done.site.home) / pipeline / "table"
    made_at = {path.name: path.stat().st_mtime for path in parts.glob("*.parquet")}
    assert len(made_at) == N_SHARDS
    (table,) = done.instance.get_run_records(
        RunsFilter(tags={"dagster/backfill": done.backfills[pipeline]}), limit=1, ascending=False
    )
    assert f"{pipeline}__joined_table" in {
        step.step_key for step in done.instance.get_run_step_stats(table.dagster_run.run_id)
    }
    assert max(made_at.values()) < (table.start_time or 0)


def test_the_work_is_spread(done: Done) -> None:
    """Each shard was collected by a process of its own, several at once, and never were there more runs than may be."""
    runs = [record for pipeline in SPECS for record in done.collect_runs(pipeline)]
    assert len({done.pid(record) for record in runs}) == len(runs) == 2 * N_SHARDS
    # How many are at work together is the machine's affair, as long as it is not one after the other.
    assert 2 <= done.most_at_once([record.dagster_run.run_id for record in runs]) <= N_WORKERS + len(SPECS)
    everything = [run.run_id for run in done.instance.get_runs()]
    assert done.most_at_once(everything) <= N_WORKERS + len(SPECS)
