"""`bedrock-assets aws clean`: it tells what a pipeline left, and takes away that and nothing else, when confirmed."""

import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.aws.model_invocation_jobs import NewJob
from bedrock_assets.aws.regions import Regions
from bedrock_assets.cli.app import app
from bedrock_assets.errors import JobFailed
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.operations.clean import CleanTarget, delete_files, plan_clean, stop_jobs
from bedrock_assets.storage.store import Store
from tests.emulator.worlds import KEY, REGION
from tests.labs.dispatch import Lab, open_lab

N_SHARDS = 4


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Lab]:
    """
    Four shards are asked for: two jobs are in flight, two shards wait; the environment is that of the deployment.

    The parameter is the emulator's speed: None where no job has to stop while the command waits for it.
    """
    speed = getattr(request, "param", 50)
    with open_lab(tmp_path, n_rows=10 * N_SHARDS, max_jobs=2, speed=speed, on_disk=True) as made:
        made.ask()
        made.tick_only()
        assert [job.status.in_flight for job in made.jobs()] == [True, True]
        settings = {
            "BEDROCK_ASSETS_STORE": str(tmp_path / "s3" / "bucket"),
            "AWS_ENDPOINT_URL_BEDROCK": made.emulator.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield made


def clean(*arguments: str, answer: str | None = None) -> Result:
    """Run the command; *answer* is what is typed."""
    return CliRunner().invoke(app, ["aws", "clean", *arguments], input=answer)


def foreign(lab: Lab) -> str:
    """A job and a file of a pipeline whose name begins with that of ours; the job's ARN."""
    lab.store.put("calls_2/raw/manifest.json", b"{}")
    lab.store.put("calls-notes.txt", b"mine")
    shard = lab.store.files("calls/prompts")[0].key
    name = f"{name_prefix('calls_2')}00000"
    uris = (lab.store.uri(shard), lab.store.uri("calls_2/jobs/x"))
    return lab.bedrock.create(NewJob(name, lab.pipeline.spec.model, *uris, "InvokeModel", 24))


@pytest.mark.parametrize("lab", [None], indirect=True)
def test_everything_is_told_and_nothing_is_done_without_a_yes(lab: Lab) -> None:
    """Jobs and folders are listed; on `n`, on no answer and with --json alone, all stays."""
    before = lab.store.files("calls")
    told = clean("calls", answer="n\n")
    assert told.exit_code == 0
    assert all(job.name in told.output for job in lab.jobs())
    assert [line.split()[1] for line in told.output.splitlines() if "files " in line] == ["prompts", "raw"]
    assert clean("calls", answer="").exit_code == 1
    found = json.loads(clean("calls", "--json").stdout)
    assert (len(found["jobs"]), found["n_files"], found["deleted"]) == (2, len(before), False)
    assert found["n_bytes"] == sum(file.n_bytes for file in before)
    assert lab.store.files("calls") == before
    assert all(job.status.in_flight for job in lab.jobs())


def test_a_yes_stops_and_deletes_the_pipelines_own_alone(lab: Lab) -> None:
    """Its jobs are stopped and its files are gone; those of a pipeline with a longer name and other files stay."""
    others = foreign(lab)
    done = clean("calls", answer="y\n")
    assert done.exit_code == 0, done.output
    assert lab.store.files("calls") == []
    assert {job.status for job in lab.jobs() if job.arn != others} == {JobStatus.STOPPED}
    assert lab.bedrock.get(others).status not in (JobStatus.STOPPED, JobStatus.STOPPING)
    assert lab.store.exists("calls_2/raw/manifest.json")
    assert lab.store.exists("calls-notes.txt")
    assert "DAGSTER_HOME is not set" in done.stderr
    again = json.loads(clean("calls", "--json").stdout)
    assert (again["jobs"], again["n_files"]) == ([], 0)


def test_what_waits_in_dagster_is_withdrawn(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sensor submits nothing after a cleaning, and the pipeline can be run anew: every row is answered."""
    monkeypatch.setenv("DAGSTER_HOME", lab.instance.root_directory)
    done = json.loads(clean("calls", "--yes", "--json").stdout)
    assert (done["n_withdrawn"], done["deleted"]) == (N_SHARDS, True)
    assert set(lab.states.values()) == {RequestState.WITHDRAWN}
    n_jobs = len(lab.jobs())
    assert lab.tick().collect_runs.run_requests == []
    assert len(lab.jobs()) == n_jobs
    lab.ask()
    assert set(lab.finish().values()) == {RequestState.ANSWERED}
    answers = [status for shard in lab.shards for status in lab.outputs(shard)["status"]]
    assert answers == ["ok"] * 10 * N_SHARDS


@pytest.mark.parametrize("lab", [None], indirect=True)
def test_the_table_can_be_kept(lab: Lab) -> None:
    """With --keep-table all that led to the table goes, and the table stays."""
    lab.finish()
    assert lab.materialize("joined_table")
    table = lab.store.files("calls/table")
    assert json.loads(clean("calls", "--keep-table", "--yes", "--json").stdout)["deleted"]
    assert lab.store.files("calls") == table
    assert len(lab.store.read_parquet(table[1].key)) == 10


@pytest.mark.parametrize("lab", [None], indirect=True)
def test_files_stay_while_a_job_may_write(lab: Lab) -> None:
    """A job that does not stop in time is told, and no file is deleted."""
    before = lab.store.files("calls")
    with pytest.raises(JobFailed, match="2 jobs of calls are still in flight after 0 s"):
        stop_jobs(lab.opened, CleanTarget("calls"), timeout_s=0)
    told = clean("calls", "--yes", "--timeout-s", "0")
    assert (told.exit_code, "no file was deleted" in told.stderr) == (2, True)
    assert lab.store.files("calls") == before


@pytest.mark.parametrize("lab", [None], indirect=True)
def test_a_name_that_is_none_deletes_nothing(lab: Lab) -> None:
    """No name that a pipeline cannot have reaches the store."""
    before = lab.store.files("calls")
    for name in ("", "..", "Calls", "calls/raw", "s3://bucket", "*"):
        told = clean(name, "--yes")
        assert (told.exit_code, "is not a pipeline's name" in told.stderr) == (2, True), name
        assert lab.store.files("calls") == before, name


@pytest.mark.parametrize("lab", [None], indirect=True)
def test_on_s3(lab: Lab, s3_store: Store) -> None:
    """More files than a page of the bucket's listing has are found and deleted, and the neighbours stay."""
    keys = [f"calls/outputs/{i:05d}.parquet" for i in range(1_100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3_store.put(key, b"x"), [*keys, "calls_2/raw/a.json"]))
    found = plan_clean(Regions.only(lab.bedrock, s3_store), CleanTarget("calls"))
    assert (len(found.files), found.n_bytes, found.jobs) == (1_100, 1_100, ())
    assert found.folders == {"outputs": (1_100, 1_100)}
    assert list(delete_files(s3_store, found))[-1] == 1_100
    left = [file.key for folder in s3_store.folders() for file in s3_store.files(folder)]
    assert left == ["calls_2/raw/a.json"]
