"""Outputs of a shard's attempts, read together."""

import json
import random

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.errors import JobFailed
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.storage.keys import attempt_folder, outputs_key
from bedrock_assets.storage.store import Store
from tests.labs.stages import HAIKU, JOB_IDS, MakePipeline, Stages, failed, job_of, jsonl, ok, texts


@pytest.fixture
def stages(store: Store, make_pipeline: MakePipeline) -> Stages:
    """One formatted shard of six rows `c0` to `c5`, of which `c4` has no record."""
    frame = texts(6).with_columns(text=pl.when(pl.col("id") != "c4").then("text"))
    return Stages.of(make_pipeline(frame, id_column="id"), store)


def gather(stages: Stages, attempt: int = 1, status: JobStatus = JobStatus.COMPLETED) -> pl.DataFrame:
    """The rows of the shard after an attempt."""
    return stages.collect(attempt, status).rows


def test_one_row_for_each_row(stages: Stages) -> None:
    """Answered, failed, rejected and missing rows stand in the input's order, each told apart."""
    stages.write(jsonl([ok("c5", "five"), failed("c1"), ok("c0", "zero"), ok("c2")]))
    rows = gather(stages)
    assert rows["record_id"].to_list() == [f"c{i}" for i in range(6)]
    assert rows["status"].to_list() == ["ok", "error", "ok", "missing", "error", "ok"]
    assert rows["error_code"].to_list() == [None, "400", None, "missing", "null_value", None]
    assert rows["response"].to_list() == ["zero", None, "fine", None, None, "five"]
    assert rows["model_id"].unique().to_list() == [HAIKU]


def test_columns_are_fixed(stages: Stages) -> None:
    """Columns, their order and their dtypes are the same with and without answers."""
    empty = gather(stages)
    stages.write(jsonl([ok(i) for i in stages.ids()]))
    assert gather(stages).schema == empty.schema
    assert empty.columns == ["record_id", *stages.pipeline.answer_columns]


def test_the_job_is_named_where_one_was_paid(stages: Stages) -> None:
    """A row that was sent tells its job and attempt, a rejected one neither."""
    rows = gather(stages)
    assert rows["job_arn"].to_list() == [None if i == 4 else job_of().arn for i in range(6)]
    assert rows["attempt"].to_list() == [None if i == 4 else 1 for i in range(6)]


def test_a_job_that_expired(stages: Stages) -> None:
    """A job that never started leaves its rows missing, with its status in their message."""
    rows = gather(stages, status=JobStatus.EXPIRED)
    assert set(rows["status"]) == {"missing", "error"}
    assert rows["error_message"][0].endswith(f"job {JOB_IDS[0]} ended as Expired")


def test_the_manifest_is_no_output(stages: Stages) -> None:
    """The manifest beside the output is read as such, and is not counted as a line."""
    told = {"totalRecordCount": 5, "processedRecordCount": 5, "successRecordCount": 5, "errorRecordCount": 0, "x": 1}
    stages.write(jsonl([ok(i) for i in stages.ids()]), manifest=json.dumps(told).encode())
    collected = stages.collect()
    assert collected.manifest is not None
    assert collected.manifest.success_record_count == 5
    assert (collected.n_unreadable, collected.n_unknown, collected.count("ok")) == (0, 0, 5)


def test_the_manifest_is_the_jobs_own(stages: Stages) -> None:
    """Of several attempts the manifest is that of the job that is collected."""
    for attempt in (1, 2):
        stages.write(jsonl([ok("c0")]), attempt=attempt, manifest=b'{"totalRecordCount": %d}' % attempt)
    collected = stages.collect(2)
    assert collected.manifest is not None
    assert collected.manifest.total_record_count == 2


@pytest.mark.parametrize("manifest", [None, b"", b"{", b"[]", b'{"totalRecordCount": "many"}'])
def test_answers_need_no_manifest(stages: Stages, manifest: bytes | None) -> None:
    """A manifest that is missing or broken does not keep answers from being read."""
    stages.write(jsonl([ok(i) for i in stages.ids()]), manifest=manifest)
    collected = stages.collect()
    assert collected.manifest is None
    assert collected.count("ok") == 5


def test_all_files_of_a_job_are_read(stages: Stages) -> None:
    """Output in several files is read whole; other files in the folder are not read."""
    stages.write(jsonl([ok("c0")]), name="a.jsonl.out")
    stages.write(jsonl([ok("c1")]), name="b.jsonl.out")
    stages.write(jsonl([ok("c2")]), name="b.jsonl.tmp")
    assert gather(stages)["status"].to_list() == ["ok", "ok", "missing", "missing", "error", "missing"]


def test_the_latest_success_wins(stages: Stages) -> None:
    """Of two attempts a row takes the latest success; an error of the later one does not undo an earlier success."""
    stages.write(jsonl([ok("c0", "old"), ok("c1", "old"), failed("c2", message="old"), failed("c3")]), attempt=1)
    stages.write(jsonl([ok("c0", "new"), failed("c1"), failed("c2", message="new"), ok("c3", "new")]), attempt=2)
    rows = gather(stages, attempt=2)
    assert rows["response"].to_list() == ["new", "old", None, "new", None, None]
    assert rows["attempt"].to_list() == [2, 1, 2, 2, None, 2]
    assert rows["error_message"][2] == "new"
    arns = {1: job_of(1).arn, 2: job_of(2).arn, None: None}
    assert rows["job_arn"].to_list() == [arns[attempt] for attempt in rows["attempt"]]


def test_a_later_attempt_is_not_read(stages: Stages) -> None:
    """Collecting an attempt reads it and the earlier ones, not what a later job is just writing."""
    stages.write(jsonl([ok("c0")]), attempt=2)
    assert gather(stages, attempt=1)["status"][0] == "missing"


def test_completed_without_one_success(stages: Stages) -> None:
    """A job that ended well but answered nothing is a failure that tells its most frequent error."""
    stages.write(jsonl([failed("c0", 500), *(failed(f"c{i}", 403, "no access") for i in (1, 2, 3))]))
    collected = stages.collect()
    with pytest.raises(
        JobFailed, match=r"ended as Completed without a single answer: 3 records failed with 403: no access"
    ):
        collected.require_success("job x ended as Completed", None)
    top = collected.frequent_errors.row(0, named=True)
    assert (top["error_code"], top["n_rows"], top["example"]) == ("403", 3, "c1")


def test_bedrocks_own_message_comes_first(stages: Stages) -> None:
    """The message of a failed job is told as Bedrock wrote it."""
    message = "Batch job contains less records (1) than the required minimum of: 100"
    with pytest.raises(JobFailed) as raised:
        stages.collect().require_success("job ba-calls-1 ended as Failed", message)
    assert str(raised.value) == f"job ba-calls-1 ended as Failed without a single answer: {message}"


def test_one_success_is_success(stages: Stages) -> None:
    """One answered row is enough for the shard to go on."""
    stages.write(jsonl([ok("c0")]))
    stages.collect().require_success("job x ended as Stopped", None)


def test_published_answers_name_what_they_answer(stages: Stages) -> None:
    """The file carries fingerprint and a version that changes with the answers and only with them."""
    versions = []
    for lines in ([ok("c0")], [ok("c0")], [ok("c0"), ok("c1")]):
        stages.write(jsonl(lines))
        collected = stages.collect()
        versions.append(Collector(stages.pipeline.workload, stages.store, stages.shards[0]).publish(collected))
        facts = stages.store.parquet_facts(outputs_key("calls", "00000-of-00001"))
        assert (facts["fingerprint"], facts["version"]) == (stages.shards[0].fingerprint, versions[-1])
    assert versions[0] == versions[1] != versions[2]


def test_rows_without_a_record_are_no_failure(store: Store, make_pipeline: MakePipeline) -> None:
    """A shard of which nothing was sent has nothing that could have been answered: its rows are published as errors."""
    frame = texts(2).with_columns(text=pl.lit(None, pl.String))
    limits = {"max_records_per_job": 2, "min_records_per_job": 1, "max_jobs": 1}
    stages = Stages.of(make_pipeline(pl.concat([frame, texts(2)]), limits=limits), store)
    collected = stages.collect()
    collected.require_success("the calls on demand ended", None)
    assert collected.rows["error_code"].to_list() == ["null_value"] * 2
    assert len(collected.unanswered) == 0


def test_what_is_sent_again(stages: Stages) -> None:
    """Missing rows and errors that may pass are unanswered; answers, refusals and rows without a record are not."""
    lines = [ok("c0"), failed("c1", 429), failed("c2", 500, retryable=False), failed("c3", 400, retryable=True)]
    stages.write(jsonl(lines))
    assert stages.collect().unanswered.to_list() == ["c1", "c3", "c5"]
    stages.write(jsonl([ok("c1"), failed("c3", 400), failed("c5", "ModelTimeoutException")]), attempt=2)
    assert stages.collect(2).unanswered.to_list() == ["c5"]


def test_the_lane_of_each_row(stages: Stages) -> None:
    """A row answered on demand says so, and names no job; a row that was not sent names no source."""
    stages.write(jsonl([ok("c0"), failed("c1", 429)]))
    folder = attempt_folder("calls", "00000-of-00001", stages.shards[0].fingerprint, 2)
    stages.store.put(f"{folder}/on-demand/c1.jsonl.out", jsonl([ok("c1")]))
    rows = Collector(stages.pipeline.workload, stages.store, stages.shards[0]).collect([job_of().arn, ""], "ended").rows
    assert rows["answer_source"].to_list() == ["batch", "on_demand", "on_demand", "on_demand", None, "on_demand"]
    assert rows["job_arn"].to_list() == [job_of().arn, *[None] * 5]


@given(first=st.sets(st.integers(0, 5)), second=st.sets(st.integers(0, 5)), chance=st.randoms())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_attempts_add_up(stages: Stages, first: set[int], second: set[int], chance: random.Random) -> None:
    """Whatever two attempts answer, a row is ok if and only if one of them answered it, and no row is lost."""
    ids = stages.ids()
    for attempt, answered in ((1, first), (2, second)):
        lines = [ok(record_id) if i in answered else failed(record_id) for i, record_id in enumerate(ids)]
        stages.write(jsonl(chance.sample(lines, len(lines))), attempt=attempt)
    rows = gather(stages, attempt=2)
    answered_ids = {ids[i] for i in first | second if i < len(ids)}
    assert set(rows.filter(pl.col("status") == "ok")["record_id"]) == answered_ids
    assert rows["record_id"].to_list() == [f"c{i}" for i in range(6)]
