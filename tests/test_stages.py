"""All data stages with the emulator between them: whatever goes wrong, rows in are rows out."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.model_invocation_jobs import Bedrock, NewJob
from bedrock_assets.emulator import Emulator, Faults
from bedrock_assets.errors import JobFailed
from bedrock_assets.jobs.shard_request import job_name
from bedrock_assets.limits import JobLimits
from bedrock_assets.outputs.collect import Collected, Collector
from bedrock_assets.shards.remainder import write_remainder
from bedrock_assets.storage.keys import attempt_folder
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import conservation_facts, conserved
from bedrock_assets.table.join import join_table
from tests.labs.stages import TITAN, MakePipeline, Stages

N_ROWS = 60
FRAME = pl.DataFrame(
    {
        "key": [f"call/{i}" for i in range(N_ROWS)],
        "text": [f"The parcel number {i} never arrived. \u2028 Zoë called \u0085 twice." for i in range(N_ROWS - 1)]
        + [None],
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the buckets of this module's emulator lie, one for each test."""
    return tmp_path_factory.mktemp("buckets")


@pytest.fixture(scope="module")
def emulator(folder: Path) -> Iterator[Emulator]:
    """An emulator whose jobs take some milliseconds."""
    limits = JobLimits(min_records_per_job=1)
    with Emulator(str(folder), folder / "jobs.sqlite", speed=10_000, limits=limits, any_model=True) as running:
        yield running


@pytest.fixture
def bedrock(emulator: Emulator) -> Iterator[Bedrock]:
    """A client of it; faults that a test sets are gone after it."""
    client = boto3.client(
        "bedrock",
        endpoint_url=emulator.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    yield Bedrock(client, "arn:aws:iam::123456789012:role/batch")
    client.close()
    emulator.set_faults(Faults())


@pytest.fixture
def bucket(folder: Path) -> Store:
    """A store of the test's own beside those of the others."""
    return Store(str(folder / f"bucket-{sum(path.is_dir() for path in folder.iterdir())}"))


def run_job(stages: Stages, bedrock: Bedrock, *, shard: int = 0, attempt: int = 1, key: str | None = None) -> Job:
    """Create a shard's job and wait for its end."""
    of, spec = stages.shards[shard], stages.pipeline.spec
    output = stages.store.uri(attempt_folder("calls", of.shard.key, of.fingerprint, attempt))
    name = job_name("calls", of.shard.key, of.fingerprint, attempt, output)
    job = NewJob(name, spec.model, stages.store.uri(key or of.prompts), output, spec.model_invocation_type, 72)
    arn = bedrock.create(job)
    while (found := bedrock.get(arn)).status.in_flight:
        time.sleep(0.01)
    return found


def collect_all(stages: Stages, bedrock: Bedrock) -> list[Collected]:
    """Run, collect and publish every shard."""
    found = []
    for index, shard in enumerate(stages.shards):
        job = run_job(stages, bedrock, shard=index)
        found.append(Collector(stages.pipeline.workload, stages.store, shard).collect([job.arn], job.status))
        Collector(stages.pipeline.workload, stages.store, shard).publish(found[-1])
    return found


def table_of(stages: Stages) -> pl.DataFrame:
    """The joined table, proven to be conserved."""
    manifest = join_table(stages.store, stages.pipeline, stages.raw)
    assert conserved(conservation_facts(stages.store, stages.pipeline, stages.raw, manifest))
    return stages.parts([part.key for part in manifest.parts])


MODELS: list[dict[str, Any]] = [
    {},
    {"model": "us.amazon.nova-lite-v1:0"},
    {"model": "us.amazon.nova-lite-v1:0", "model_invocation_type": "Converse"},
    {"model": TITAN, "task": {"embedding": {"column": "text", "dimensions": 256}}},
]


@pytest.mark.parametrize("overrides", MODELS, ids=["anthropic", "nova", "converse", "titan_embed_v2"])
def test_every_family(bedrock: Bedrock, bucket: Store, make_pipeline: MakePipeline, overrides: dict[str, Any]) -> None:
    """Requests of each family are answered, and every answer is read and belongs to its row."""
    limits = {"min_records_per_job": 1, "max_records_per_job": 40, "max_jobs": 1}
    stages = Stages.of(make_pipeline(FRAME, id_column="key", limits=limits, prompt="{text}", **overrides), bucket)
    collected = collect_all(stages, bedrock)
    assert sum(found.n_unreadable + found.n_unknown for found in collected) == 0
    table = table_of(stages)
    assert_frame_equal(table.select(FRAME.columns), FRAME)
    assert table["status"].to_list() == ["ok"] * (N_ROWS - 1) + ["error"]
    if "embedding" in table.columns:
        assert table.schema["embedding"] == pl.Array(pl.Float32, 256)
    else:
        # The emulator answers with sentences of the prompt.
        assert all(f"number {i} never" in text for i, text in enumerate(table["response"].head(N_ROWS - 1)))


FAULTS = {
    "mixed": Faults(record_error_rate=0.2, malformed_line_rate=0.1, missing_record_rate=0.1, duplicate_record_rate=0.2),
    "string codes": Faults(record_error_rate=0.5, record_error_code="429"),
    "partial": Faults(partial_fraction=0.4),
    "partial, marked": Faults(partial_fraction=0.4, mark_expired=True),
    "expired": Faults(expire=True),
    "no manifest": Faults(missing_manifest=True),
    "failed late": Faults(fail_message="no access", fail_at="InProgress", partial_fraction=0.5),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_lose_no_row(
    emulator: Emulator, bedrock: Bedrock, bucket: Store, make_pipeline: MakePipeline, name: str
) -> None:
    """Under errors, broken, missing and repeated lines, or a job that ended early, every row has one outcome."""
    emulator.set_faults(FAULTS[name])
    stages = Stages.of(make_pipeline(FRAME, id_column="key", prompt="{text}"), bucket)
    collect_all(stages, bedrock)
    table = table_of(stages)
    assert_frame_equal(table.select(FRAME.columns), FRAME)
    wrong = table.filter((pl.col("status") == "ok") != pl.col("response").is_not_null())
    assert len(wrong) == 0
    assert table.filter(pl.col("status") != "ok")["error_code"].null_count() == 0
    assert (table["status"] == "ok").sum() < N_ROWS


def test_the_remainder_completes_the_shard(
    emulator: Emulator, bedrock: Bedrock, bucket: Store, make_pipeline: MakePipeline
) -> None:
    """What a partial job answered is kept; a second job over the rest alone completes the shard."""
    stages = Stages.of(make_pipeline(FRAME, id_column="key", prompt="{text}"), bucket)
    emulator.set_faults(Faults(partial_fraction=0.4))
    arn = run_job(stages, bedrock).arn
    first = Collector(stages.pipeline.workload, bucket, stages.shards[0]).collect([arn], "ended")
    emulator.set_faults(Faults())
    done = first.rows.filter(pl.col("status") == "ok")["record_id"]
    key, n_records = write_remainder(bucket, stages.pipeline, stages.shards[0], 2, first.unanswered)
    assert n_records == N_ROWS - 1 - len(done)
    job = run_job(stages, bedrock, attempt=2, key=key)
    assert job.n_total == n_records
    both = Collector(stages.pipeline.workload, bucket, stages.shards[0]).collect([arn, job.arn], "ended")
    assert both.count("ok") == N_ROWS - 1
    assert set(both.rows.filter(pl.col("attempt") == 1)["record_id"]) == set(done)


def test_padding_is_paid_and_dropped(bedrock: Bedrock, bucket: Store, make_pipeline: MakePipeline) -> None:
    """Copies that fill a small job up are answered by Bedrock and are in no row of ours."""
    pipeline = make_pipeline(FRAME.head(5), id_column="key", on_small="pad", limits={"min_records_per_job": 20})
    stages = Stages.of(pipeline, bucket)
    job = run_job(stages, bedrock)
    collected = Collector(pipeline.workload, bucket, stages.shards[0]).collect([job.arn], "ended")
    assert (job.n_success, collected.count("ok"), collected.n_unknown, len(collected.rows)) == (20, 5, 0, 5)


def test_a_failed_job_tells_its_message(
    emulator: Emulator, bedrock: Bedrock, bucket: Store, make_pipeline: MakePipeline
) -> None:
    """A role that may not invoke the model fails the job late, and Bedrock's own words are shown."""
    message = "Customer doesn't have permissions to invokeModel"
    emulator.set_faults(Faults(fail_message=message, fail_at="InProgress", partial_fraction=0))
    stages = Stages.of(make_pipeline(FRAME, id_column="key", prompt="{text}"), bucket)
    job = run_job(stages, bedrock)
    collected = Collector(stages.pipeline.workload, bucket, stages.shards[0]).collect([job.arn], "ended")
    with pytest.raises(JobFailed, match=f"ended as Failed without a single answer: {message}"):
        collected.require_success(f"job {job.name} ended as {job.status}", job.message)
