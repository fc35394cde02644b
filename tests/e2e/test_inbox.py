"""Files that are dropped while the whole stack runs, with its daemon, its runs in processes of their own."""

from collections.abc import Generator

import polars as pl
import pytest
from dagster import AssetKey, DagsterRunStatus, RunsFilter

from tests.e2e.lab import Lab, lab
from tests.labs.inbox import lines

INBOX = "inbox"


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    """A stack whose jobs take some seconds, with the inbox that ships."""
    with lab(tmp_path_factory.mktemp("inbox"), speed=60) as opened:
        yield opened


@pytest.mark.slow
def test_dropped_files_are_answered(made: Lab) -> None:
    """Five files under a cap of two are answered, bad ones are refused with their reasons, while runs are killed."""
    for i in range(5):
        drop(made, f"calls-{i}.jsonl", lines(120, f"matter {i}"))
    bad = {"broken.jsonl": b"nonsense", "a..b.jsonl": lines(120), "again.jsonl": lines(120, "matter 0")}
    for name, content in bad.items():
        drop(made, name, content)
    made.until(lambda: any(job.status.in_flight for job in made.jobs(INBOX)))
    kill_a_collect_run(made)
    made.until(lambda: made.materialized(INBOX, "batch_outputs") == 5)
    for i in range(5):
        answers = pl.read_parquet(made.stack.store / "processed" / f"calls-{i}" / f"calls-{i}.parquet")
        assert answers["record_id"].to_list() == [f"r{n}" for n in range(120)]
        assert set(answers["status"]) == {"ok"}
    assert sorted(path.name for path in (made.stack.store / "to-process").iterdir()) == sorted(bad)
    assert (made.most_in_flight, len(made.jobs(INBOX))) == (2, 5)
    observed = made.instance.fetch_observations(AssetKey([INBOX, "dropped_files"]), limit=10).records
    told = {record.asset_observation.metadata["file"].value for record in observed if record.asset_observation}
    assert (told, len(observed)) == (set(bad), 3)


def drop(made: Lab, name: str, content: bytes) -> None:
    """Write a file in two pieces, as a slow copy does."""
    path = made.stack.store / "to-process" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content[: len(content) // 2])
    with path.open("ab") as file:
        file.write(content[len(content) // 2 :])


def kill_a_collect_run(made: Lab) -> None:
    """SIGKILL the process of the first run that collects, and tell Dagster, as its run monitoring would in the end."""

    def started() -> list[str]:
        filters = RunsFilter(job_name=f"{INBOX}_collect", statuses=[DagsterRunStatus.STARTED])
        return [run.run_id for run in made.instance.get_runs(filters)]

    made.until(lambda: bool(started()))
    run_id = started()[0]
    made.kill_run(run_id)
    run = made.instance.get_run_by_id(run_id)
    assert run is not None
    if not run.is_finished:
        made.instance.report_run_failed(run)
