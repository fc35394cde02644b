"""Files that are dropped into an inbox: taken, answered under the pool's limit, salvaged, never paid twice."""

import json
import os
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from bedrock_assets.assets.inbox import file_facts
from bedrock_assets.aws.job import JobStatus
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.pipeline.ids import wire_id
from tests.labs.inbox import INBOX, lines, open_lab, record
from tests.labs.stages import TITAN


def test_a_dropped_file_is_answered(tmp_path: Path) -> None:
    """A file becomes a partition, moves beside its outputs, and its answers stand there, each with its own record."""
    with open_lab(tmp_path) as lab:
        lab.drop("first.jsonl", lines(10))
        assert lab.finish() == {"first": RequestState.ANSWERED}
        assert lab.left == []
        answers = lab.answers("first")
        assert answers["record_id"].to_list() == [f"r{i}" for i in range(10)]
        assert set(answers["status"]) == {"ok"}
        assert all(f"invoice {i}" in text for i, text in enumerate(answers["response"]))
        folder = Path(lab.store.root) / "processed" / "first"
        assert (folder / "first.jsonl").read_bytes() == lines(10)
        (out,) = folder.rglob("*.jsonl.out")
        assert {json.loads(line)["recordId"] for line in out.read_text().splitlines()} == set(answers["record_id"])
        (job,) = lab.jobs()
        assert (job.n_success, set(answers["job_arn"])) == (10, {job.arn})


def test_each_file_is_checked_for_conservation(tmp_path: Path) -> None:
    """The check beside the answers passes where each record has one outcome, and fails where one was lost."""
    with open_lab(tmp_path) as lab:
        lab.drop("first.jsonl", lines(5))
        lab.finish()
        key = dg.AssetCheckKey(dg.AssetKey([INBOX, "batch_outputs"]), "every_row_has_one_outcome")
        latest = lab.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        evaluation = latest.evaluation
        assert evaluation is not None
        assert evaluation.passed
        assert file_facts(lab.store, lab.inbox, "first")["n_lost"] == 0
        answers = Path(lab.store.path("processed/first/first.parquet"))
        pl.read_parquet(answers).head(4).write_parquet(answers)
        assert file_facts(lab.store, lab.inbox, "first") == {
            "n_rows_in": 5,
            "n_rows_out": 4,
            "n_lost": 1,
            "n_without_status": 0,
        }


def test_a_young_or_changing_file_waits(tmp_path: Path) -> None:
    """A file is taken when two looks saw the same and it has not changed for the settle time, and not before."""
    with open_lab(tmp_path, settle_s=3600) as lab:
        lab.drop("growing.jsonl", lines(3))
        assert lab.look() == []  # seen once
        lab.drop("growing.jsonl", lines(4))
        assert lab.look() == []  # another size, though it pretends to be old
        lab.drop("young.jsonl", lines(5), age_s=60)
        lab.look()
        (asked,) = lab.look()
        config = asked.run_config["ops"]["mail__dropped_files"]["config"]
        assert list(config["files"]) == ["growing.jsonl"]
        lab.launch([asked])
        assert lab.left == ["young.jsonl"]
        assert lab.look() == []
        assert "1 settling" in lab.skipped["mail_files_sensor"]


def test_a_clock_that_is_ahead_does_not_keep_a_file_waiting(tmp_path: Path) -> None:
    """A file from the future is taken once it has been seen for the settle time."""
    with open_lab(tmp_path, settle_s=0) as lab:
        lab.drop("future.jsonl", lines(3), age_s=-86_400)
        assert lab.look() == []
        assert len(lab.look()) == 1


def test_a_file_that_changes_while_it_is_read_is_left(tmp_path: Path) -> None:
    """What the sensor saw is what is taken: a file that is another one by then stays, and is taken later."""
    with open_lab(tmp_path) as lab:
        lab.drop("late.jsonl", lines(3))
        lab.look()
        (asked,) = lab.look()
        lab.drop("late.jsonl", lines(4))
        lab.launch([asked])
        assert (lab.left, lab.states) == (["late.jsonl"], {})
        assert lab.finish() == {"late": RequestState.ANSWERED}
        assert len(lab.answers("late")) == 4


def test_edits_after_the_drop_do_not_matter(tmp_path: Path) -> None:
    """What is sent is the copy: a new attempt after the file's own is edited sends the records as they were."""
    with open_lab(tmp_path, faults=Faults(record_error_rate=1, record_error_code=429), max_attempts=1) as lab:
        lab.drop("first.jsonl", lines(5))
        assert lab.finish() == {"first": RequestState.FAILED}
        (Path(lab.store.root) / "processed" / "first" / "first.jsonl").write_text("no JSON any longer")
        lab.emulator.set_faults(Faults())
        assert lab.run("batch_outputs", "first")
        assert lab.finish() == {"first": RequestState.ANSWERED}
        assert set(lab.answers("first")["status"]) == {"ok"}


def test_the_cap_holds_and_slots_are_refilled_in_the_next_tick(tmp_path: Path) -> None:
    """Five files under a cap of two: never more in flight, and a tick after a job has ended the next is submitted."""
    with open_lab(tmp_path, speed=None) as lab:
        for i in range(5):
            lab.drop(f"file-{i}.jsonl", lines(4, f"matter {i}"))
        for _ in range(3):
            lab.tick()
        assert list(lab.states.values()) == [RequestState.SUBMITTED] * 2 + [RequestState.REQUESTED] * 3
        for n_jobs in (3, 4, 5):
            first = next(job for job in lab.jobs() if job.status.in_flight)
            lab.bedrock.stop(first.arn)
            lab.until(lambda arn=first.arn: not lab.bedrock.get(arn).status.in_flight)
            lab.tick()
            in_flight = [job for job in lab.jobs() if job.status.in_flight]
            assert (len(lab.jobs()), len(in_flight)) == (n_jobs, min(2, 5 - n_jobs + 2))


def test_partial_results_are_salvaged(tmp_path: Path) -> None:
    """A job that runs out of time keeps its good records, and only the others are sent again."""
    with open_lab(tmp_path, faults=Faults(partial_fraction=0.6), max_attempts=4) as lab:
        lab.drop("first.jsonl", lines(10))
        assert lab.finish() == {"first": RequestState.ANSWERED}
        answers = lab.answers("first")
        assert set(answers["status"]) == {"ok"}
        assert dict(answers.group_by("attempt").len().iter_rows()) == {1: 6, 2: 2, 3: 1, 4: 1}
        assert answers["answer_source"].to_list().count("on_demand") == 1
        assert [job.status for job in lab.jobs()] == [JobStatus.PARTIALLY_COMPLETED] * 3


def test_a_failed_file_may_be_dropped_again(tmp_path: Path) -> None:
    """After a job failed without an answer the same file, dropped again, is a new attempt; corrected, a new job."""
    with open_lab(tmp_path, faults=Faults(fail_message="Could not validate GetObject permissions")) as lab:
        for name in ("same", "other"):
            lab.drop(f"{name}.jsonl", lines(5, name))
        assert set(lab.finish().values()) == {RequestState.FAILED}
        lab.emulator.set_faults(Faults())
        lab.drop("same.jsonl", lines(5, "same"))
        lab.drop("other.jsonl", lines(6, "corrected"))
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert set(lab.answers("same")["attempt"]) == {2}
        assert (len(lab.answers("other")), set(lab.answers("other")["attempt"])) == (6, {1})
        assert len(lab.jobs()) == 4


@pytest.mark.parametrize(("on_small", "inference_mode", "n_jobs"), [("on_demand", "on_demand", 0), ("pad", "batch", 1)])
def test_few_records(tmp_path: Path, on_small: str, inference_mode: str, n_jobs: int) -> None:
    """Fewer records than a job takes are answered one by one, or sent with copies that are dropped again."""
    limits = {"min_records_per_job": 4, "max_jobs": 2}
    with open_lab(tmp_path, on_small=on_small, limits=limits) as lab:
        lab.drop("few.jsonl", lines(3))
        assert lab.finish() == {"few": RequestState.ANSWERED}
        assert (lab.answers("few")["answer_source"].to_list(), len(lab.jobs())) == ([inference_mode] * 3, n_jobs)


def test_lines_as_people_write_them(tmp_path: Path) -> None:
    """Odd ids, keys in any order, blank lines, CRLF and a BOM: each record is answered under its own id."""
    ids = ["a b/c", "x" * 70, "é", 'quo"te', "plain", "last"]
    records = [{**record(i), "recordId": name} for i, name in enumerate(ids)]
    records[4] = {"modelInput": records[4]["modelInput"], "recordId": "plain"}
    texts = [json.dumps(one, ensure_ascii=i % 2 == 0, indent=None) for i, one in enumerate(records)]
    texts[5] = texts[5].replace('{"recordId":', '{ "recordId" :')
    with open_lab(tmp_path) as lab:
        lab.drop("odd.jsonl", b"\xef\xbb\xbf" + "\r\n".join([*texts[:3], "", " ", *texts[3:]]).encode())
        assert lab.finish() == {"odd": RequestState.ANSWERED}, lab.rejections
        answers = lab.answers("odd")
        assert answers["record_id"].to_list() == ids
        assert all(f"invoice {i}" in text for i, text in enumerate(answers["response"]))
        (prompts,) = Path(lab.store.root).glob("mail/prompts/odd/*.jsonl")
        sent = [json.loads(line) for line in prompts.read_text().splitlines()]
        assert [one["modelInput"] for one in sent] == [one["modelInput"] for one in records]
        hashed = pl.DataFrame({"id": ids}).select(wire_id(pl.col("id")))["id"].to_list()
        assert [one["recordId"] for one in sent] == hashed


def test_ids_that_are_absent_or_repeated(tmp_path: Path) -> None:
    """Such records are answered under ids of ours, each with its own prompt, and a second attempt finds them again."""
    given = [None, "r1", "r1", "", "r4", None, "r6", "r7"]
    records = [{**record(i), "recordId": name} for i, name in enumerate(given)]
    content = "\n".join(json.dumps({k: v for k, v in one.items() if v is not None}) for one in records)
    with open_lab(tmp_path, faults=Faults(seed=2, record_error_rate=0.3)) as lab:
        lab.drop("loose.jsonl", content.encode())
        assert lab.finish() == {"loose": RequestState.ANSWERED}, lab.rejections
        answers = lab.answers("loose")
        assert answers.columns[:3] == ["record_id", "given_id", "status"]
        assert answers["given_id"].to_list() == [name or None for name in given]
        ids = answers["record_id"].to_list()
        (taken,) = lab.instance.fetch_materializations(dg.AssetKey([INBOX, "dropped_files"]), limit=1).records
        assert "5 of them with ids of ours" in str(taken.asset_materialization.metadata["taken"].value)  # pyright: ignore[reportOptionalMemberAccess]
        assert (len(set(ids)), [ids[4], *ids[6:]]) == (8, ["r4", "r6", "r7"])
        assert max(answers["attempt"]) > 1
        assert [f"invoice {i}" in text for i, text in enumerate(answers["response"]) if text] == [True] * 8
        facts = file_facts(lab.store, lab.inbox, "loose")
        assert (facts["n_rows_in"], facts["n_rows_out"], facts["n_lost"]) == (8, 8, 0)
        lab.drop("again.jsonl", content.encode())
        lab.drop("fine.jsonl", lines(4, "letter"))
        lab.finish()
        assert "the same records have answers" in lab.rejections["again.jsonl"]
        assert "given_id" not in lab.answers("fine").columns


def test_vectors(tmp_path: Path) -> None:
    """An inbox of an embedding model writes vectors of the length that its files ask for."""
    bodies = [{"inputText": f"call {i}", "dimensions": 256, "normalize": True} for i in range(4)]
    content = "\n".join(json.dumps({"recordId": f"v{i}", "modelInput": body}) for i, body in enumerate(bodies))
    with open_lab(tmp_path, model=TITAN, dimensions=256) as lab:
        lab.drop("vectors.jsonl", content.encode())
        assert lab.finish() == {"vectors": RequestState.ANSWERED}
        assert lab.answers("vectors").schema["embedding"] == pl.Array(pl.Float32, 256)
        assert lab.answers("vectors")["embedding"].null_count() == 0


def test_a_run_by_hand_takes_what_is_old_enough(tmp_path: Path) -> None:
    """Materializing `dropped_files` in the UI takes settled files at once; a young one is left."""
    with open_lab(tmp_path, settle_s=60) as lab:
        lab.drop("old.jsonl", lines(3))
        lab.drop("young.jsonl", lines(4), age_s=0)
        assert lab.run("dropped_files")
        assert (lab.left, lab.states) == (["young.jsonl"], {"old": RequestState.REQUESTED})


def test_only_one_run_takes_files(tmp_path: Path) -> None:
    """While a run takes files the sensor launches no other, and one that is launched by hand fails and says why."""
    with open_lab(tmp_path) as lab:
        lab.drop("first.jsonl", lines(3))
        lab.look()
        (asked,) = lab.look()
        run = lab.instance.create_run_for_job(_noop, tags=dict(asked.tags), status=dg.DagsterRunStatus.STARTED)
        assert lab.look() == []
        assert f"1 waiting for run {run.run_id}" in lab.skipped["mail_files_sensor"]
        assert not lab.run("dropped_files")
        lab.instance.report_run_canceled(run)
        assert lab.run("dropped_files")
        assert lab.left == []


def test_memory_is_not_needed(tmp_path: Path) -> None:
    """With the sensors' memory and cursors lost, nothing is taken, refused, submitted or paid again."""
    with open_lab(tmp_path) as lab:
        lab.drop("first.jsonl", lines(3))
        lab.drop("bad.jsonl", b"nonsense")
        lab.finish()
        for _ in range(4):
            lab.restart()
            lab.cursors.clear()
            lab.tick()
            lab.tick()
        assert (len(lab.jobs()), lab.n_refusals, lab.left) == (1, 1, ["bad.jsonl"])


def test_the_folder_is_made_by_whoever_drops(tmp_path: Path) -> None:
    """A folder that is not there is empty."""
    with open_lab(tmp_path) as lab:
        lab.tick()
        assert lab.skipped["mail_files_sensor"] == "0 settling, 0 waiting, 0 refused"
        assert not os.path.lexists(lab.folder)


@dg.job
def _noop() -> None:
    pass
