"""Outputs of a shard's attempts, read together; what is left becomes the next attempt's records."""

import json
import random

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_assets.campaign import JobStatus
from bedrock_assets.collect import can_be_sent, collect, publish, require_success, write_remainder
from bedrock_assets.errors import JobFailed, TooFewRecords
from bedrock_assets.records import outputs_key
from bedrock_assets.store import Store
from tests.lab import HAIKU, JOB_IDS, MakePipeline, Stages, failed, job_of, jsonl, ok, texts


@pytest.fixture
def stages(store: Store, make_pipeline: MakePipeline) -> Stages:
    """One formatted shard of six rows `c0` to `c5`, of which `c4` has no record."""
    frame = texts(6).with_columns(text=pl.when(pl.col("id") != "c4").then("text"))
    return Stages.of(make_pipeline(frame, id_column="id"), store)


def gather(stages: Stages, attempt: int = 1, status: JobStatus = JobStatus.COMPLETED) -> pl.DataFrame:
    """The rows of the shard after an attempt."""
    return collect(stages.pipeline, stages.store, stages.shards[0], job_of(attempt, status), attempt).rows


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
    collected = collect(stages.pipeline, stages.store, stages.shards[0], job_of(), 1)
    assert collected.manifest is not None
    assert collected.manifest.success_record_count == 5
    assert (collected.n_unreadable, collected.n_unknown, collected.count("ok")) == (0, 0, 5)


def test_the_manifest_is_the_jobs_own(stages: Stages) -> None:
    """Of several attempts the manifest is that of the job that is collected."""
    for attempt in (1, 2):
        stages.write(jsonl([ok("c0")]), attempt=attempt, manifest=b'{"totalRecordCount": %d}' % attempt)
    collected = collect(stages.pipeline, stages.store, stages.shards[0], job_of(2), 2)
    assert collected.manifest is not None
    assert collected.manifest.total_record_count == 2


@pytest.mark.parametrize("manifest", [None, b"", b"{", b"[]", b'{"totalRecordCount": "many"}'])
def test_answers_need_no_manifest(stages: Stages, manifest: bytes | None) -> None:
    """A manifest that is missing or broken does not keep answers from being read."""
    stages.write(jsonl([ok(i) for i in stages.ids()]), manifest=manifest)
    collected = collect(stages.pipeline, stages.store, stages.shards[0], job_of(), 1)
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
    collected = collect(stages.pipeline, stages.store, stages.shards[0], job_of(), 1)
    with pytest.raises(JobFailed, match=r"ended as Completed without one answer: 3 records failed with 403: no access"):
        require_success(collected, job_of())
    top = collected.frequent_errors.row(0, named=True)
    assert (top["error_code"], top["n_rows"], top["example"]) == ("403", 3, "c1")


def test_bedrocks_own_message_comes_first(stages: Stages) -> None:
    """The message of a failed job is told as Bedrock wrote it."""
    message = "Batch job contains less records (1) than the required minimum of: 100"
    job = job_of(1, JobStatus.FAILED, message)
    collected = collect(stages.pipeline, stages.store, stages.shards[0], job, 1)
    with pytest.raises(JobFailed) as raised:
        require_success(collected, job)
    assert str(raised.value) == f"job ba-calls-1 ended as Failed without one answer: {message}"


def test_one_success_is_success(stages: Stages) -> None:
    """One answered row is enough for the shard to go on."""
    stages.write(jsonl([ok("c0")]))
    collected = collect(stages.pipeline, stages.store, stages.shards[0], job_of(1, JobStatus.STOPPED), 1)
    require_success(collected, job_of(1, JobStatus.STOPPED))


def test_published_answers_name_what_they_answer(stages: Stages) -> None:
    """The file carries fingerprint, revision and a version that changes with the answers and only with them."""
    versions = []
    for lines in ([ok("c0")], [ok("c0")], [ok("c0"), ok("c1")]):
        stages.write(jsonl(lines))
        collected = collect(stages.pipeline, stages.store, stages.shards[0], job_of(), 1)
        versions.append(publish(stages.store, stages.pipeline, stages.shards[0], collected))
        facts = stages.store.parquet_facts(outputs_key("calls", "00000-of-00001"))
        revision = stages.raw.revision
        assert facts == {"fingerprint": stages.shards[0].fingerprint, "raw_revision": revision, "version": versions[-1]}
    assert versions[0] == versions[1] != versions[2]


def test_the_remainder_is_the_unanswered_records(stages: Stages) -> None:
    """The next attempt's file has the records that are not done, byte for byte and in order."""
    done = pl.Series(["c1", "c3"])
    key, n_records = write_remainder(stages.store, stages.pipeline, stages.shards[0], 2, done)
    first = stages.store.get(stages.shards[0].prompts).splitlines(keepends=True)
    assert stages.store.get(key) == b"".join([first[0], first[2], first[4]])
    assert n_records == 3
    assert key.endswith(f"{stages.shards[0].fingerprint}-2.jsonl")


def test_a_remainder_under_the_minimum(store: Store, make_pipeline: MakePipeline) -> None:
    """Too few records are refused without leaving a file; with `pad` they are sent together with copies."""
    frame, done = texts(5), pl.Series(["c0", "c1", "c2"])
    stages = Stages.of(make_pipeline(frame, id_column="id", limits={"min_records_per_job": 4}), store)
    assert not can_be_sent(stages.pipeline, 2)
    with pytest.raises(TooFewRecords, match=r"2 records of shard 00000-of-00001 are unanswered, .* fewer than 4"):
        write_remainder(store, stages.pipeline, stages.shards[0], 2, done)
    assert not [file for file in store.files("calls/prompts") if file.key.endswith("-2.jsonl")]
    padded = make_pipeline(frame, id_column="id", limits={"min_records_per_job": 4}, on_small="pad")
    assert can_be_sent(padded, 2)
    assert not can_be_sent(padded, 0)
    key, n_records = write_remainder(store, padded, stages.shards[0], 2, done)
    ids = [json.loads(line)["recordId"] for line in store.get(key).splitlines()]
    assert (n_records, ids[:2], len(set(ids))) == (4, ["c3", "c4"], 4)
    assert all(record_id.startswith("padding") for record_id in ids[2:])


def test_a_remainder_of_a_padded_shard(store: Store, make_pipeline: MakePipeline) -> None:
    """Copies of the first attempt are not taken for records; the second attempt is padded anew."""
    limits = {"min_records_per_job": 6}
    stages = Stages.of(make_pipeline(texts(3), id_column="id", limits=limits, on_small="pad"), store)
    key, n_records = write_remainder(store, stages.pipeline, stages.shards[0], 2, pl.Series(["c1"]))
    ids = [json.loads(line)["recordId"] for line in store.get(key).splitlines()]
    assert (n_records, len(set(ids)), ids[:2]) == (6, 6, ["c0", "c2"])


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
