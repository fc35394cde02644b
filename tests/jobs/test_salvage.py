"""What a job answered is kept, and what it left is sent again, by the inference mode that fits, up to max_attempts."""

from collections import Counter
from pathlib import Path

import polars as pl

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.ledger import RequestState
from tests.labs.dispatch import Lab, open_lab


def test_partial_job_keeps_what_it_answered(tmp_path: Path) -> None:
    """Of a job that ran out of time the answers are kept, and a second job gets the unanswered records alone."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=Faults(partial_fraction=0.6)) as lab:
        lab.ask()
        lab.tick()
        first = lab.wait_for_jobs()[0]
        assert first.status is JobStatus.PARTIALLY_COMPLETED
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        first, second = lab.jobs()
        assert (first.n_success, second.n_total) == (6, 4)
        answers = lab.outputs(lab.shards[0])
        assert set(answers["status"]) == {"ok"}
        assert sorted(answers["attempt"].to_list()) == [1] * 6 + [2] * 4
        assert answers["job_arn"].n_unique() == 2


def test_attempts_end(tmp_path: Path) -> None:
    """A shard whose jobs always run out of time ends after max_attempts with the rest as missing rows."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1, max_attempts=2, faults=Faults(partial_fraction=0.5)) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2
        statuses = lab.outputs(lab.shards[0])["status"].to_list()
        assert "missing" in statuses
        assert len(statuses) == 10


def test_expired_job_is_sent_again(tmp_path: Path) -> None:
    """A job that expired before it started is sent again, whole."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=Faults(expire=True)) as lab:
        lab.ask()
        lab.tick()
        assert lab.wait_for_jobs()[0].status is JobStatus.EXPIRED
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert [job.n_success for job in lab.jobs()] == [0, 10]


def test_failed_job_with_output_is_salvaged(tmp_path: Path) -> None:
    """A job that failed after it had answered some records is followed by one for the others."""
    faults = Faults(fail_message="Internal error", fail_at="InProgress", partial_fraction=0.5)
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=faults) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert [job.status for job in lab.jobs()] == [JobStatus.FAILED, JobStatus.COMPLETED]
        assert sorted(lab.outputs(lab.shards[0])["attempt"]) == [1] * 5 + [2] * 5


def test_stopped_job_waits_for_a_person(tmp_path: Path) -> None:
    """A job that somebody stopped fails its shard; launched again, only what it left is sent."""
    limits = {"max_records_per_job": 100, "min_records_per_job": 2, "max_jobs": 1}
    with open_lab(tmp_path, n_rows=40, limits=limits, speed=None) as lab:
        lab.ask()
        lab.tick()
        lab.until(lambda: lab.jobs()[0].n_processed > 0)
        lab.bedrock.stop(lab.jobs()[0].arn)
        first = lab.wait_for_jobs()[0]
        assert first.status is JobStatus.STOPPED
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert "unanswered" in (lab.ledger.entries[lab.shards[0]].message or "")
        lab.materialize("batch_outputs", lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        _require_each_row_once(lab, 40)
        assert sum(job.n_success for job in lab.jobs()) == 40


def test_errors_that_may_pass_are_sent_again(tmp_path: Path) -> None:
    """Records that were throttled inside a job go into the next one; what was refused stays an error row."""
    faults = Faults(record_error_rate=0.6, record_error_code=429, record_error_message="Too many requests")
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=faults) as lab:
        lab.ask()
        lab.tick()
        n_failed = lab.wait_for_jobs()[0].n_error
        assert n_failed >= 2
        lab.emulator.set_faults(Faults(record_error_rate=0.3, record_error_code=400, record_error_message="No"))
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        second = lab.jobs()[1]
        assert second.n_total == n_failed
        assert len(lab.jobs()) == 2
        assert Counter(lab.outputs(lab.shards[0])["status"]) == Counter(
            {"ok": 10 - second.n_error} | ({"error": second.n_error} if second.n_error else {})
        )


def test_lost_lines_are_sent_again(tmp_path: Path) -> None:
    """Answers that are missing from the output, or cannot be read, are asked for again."""
    with open_lab(
        tmp_path, n_rows=10, max_jobs=1, faults=Faults(missing_record_rate=0.3, malformed_line_rate=0.3)
    ) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert set(lab.outputs(lab.shards[0])["status"]) == {"ok"}
        _require_each_row_once(lab, 10)


def test_small_remainder_goes_on_demand(tmp_path: Path) -> None:
    """Fewer records than a job takes are answered one by one, parsed alike, and marked as such."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=Faults(partial_fraction=0.9)) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 1
        rows = lab.outputs(lab.shards[0])
        assert Counter(rows["answer_source"]) == Counter({"batch": 9, "on_demand": 1})
        last = rows.filter(pl.col("answer_source") == "on_demand").row(0, named=True)
        assert (last["status"], last["attempt"], last["job_arn"]) == ("ok", 2, None)
        assert last["response"]
        assert last["output_tokens"] > 0
        assert lab.n_invoked == 1


def test_small_remainder_is_left_or_padded(tmp_path: Path) -> None:
    """With `error` a remainder under the minimum stays as missing rows; with `pad` it is sent with copies."""
    for on_small, n_jobs, status in (("error", 1, "missing"), ("pad", 2, "ok")):
        folder = tmp_path / on_small
        folder.mkdir()
        with open_lab(
            folder, n_rows=10, max_jobs=1, on_small=on_small, faults=Faults(partial_fraction=0.9, only_names=".*-1")
        ) as lab:
            lab.ask()
            assert set(lab.finish().values()) == {RequestState.ANSWERED}
            assert len(lab.jobs()) == n_jobs
            assert sorted(lab.outputs(lab.shards[0])["status"]) == sorted(["ok"] * 9 + [status])
            assert lab.n_invoked == 0


def _require_each_row_once(lab: Lab, n_rows: int) -> None:
    rows = pl.concat(lab.outputs(shard) for shard in lab.shards)
    assert rows["record_id"].to_list() == [f"c{i}" for i in range(n_rows)]
    assert set(rows["status"]) == {"ok"}
