"""No two ticks create jobs at the same time, and a pool is shared by pipelines that do not know each other."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from bedrock_assets.jobs.submit_turn import TURN_S, SubmitTurn, Turn
from bedrock_assets.storage.keys import SUBMIT_TURN
from bedrock_assets.storage.store import Store
from tests.labs.dispatch import open_lab, pipeline_of

OTHER = {"ba-others-": {"amazon.titan-embed-text-v2:0": ("bedrock_batch",)}}


def ended_process() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_one_turn_at_a_time(tmp_path: Path) -> None:
    """While one tick has its turn another gets none; afterwards it does."""
    store, specs = Store(str(tmp_path / "bucket")), [pipeline_of(tmp_path).spec]
    (tmp_path / "calls.parquet").touch()
    first = Turn.take(store, specs)
    assert first
    assert first.is_on
    assert Turn.take(store, specs) is None
    first.give_back()
    assert Turn.take(store, specs)


def test_a_turn_ends_by_itself(tmp_path: Path) -> None:
    """A turn that nobody gave back is over after its time; that of a process that was killed is over at once."""
    store = Store(str(tmp_path / "bucket"))
    for holder, ends_at, is_free in (
        ("elsewhere/1/0", time.time() + TURN_S, False),
        ("elsewhere/1/0", time.time() - 1, True),
        (f"{socket.gethostname()}/{os.getpid()}/0", time.time() + TURN_S, False),
        (f"{socket.gethostname()}/{ended_process()}/0", time.time() + TURN_S, True),
    ):
        store.write_model(SUBMIT_TURN, SubmitTurn(holder=holder, ends_at=ends_at))
        assert (Turn.take(store, []) is not None) == is_free, holder


def test_no_job_is_created_in_the_turn_of_another(tmp_path: Path) -> None:
    """A tick that gets no turn says so and submits nothing; the next one does."""
    with open_lab(tmp_path, speed=1) as lab:
        lab.ask()
        turn = Turn.take(lab.store, [])
        assert turn
        tick = lab.tick()
        assert lab.jobs() == []
        assert "another tick creates jobs now; the next one goes on" in tick.notes
        turn.give_back()
        lab.tick()
        assert len(lab.jobs()) == 2


def test_jobs_of_other_code_locations_take_slots_of_a_shared_pool(tmp_path: Path) -> None:
    """A job of a pipeline that only another code location knows, on another model, counts in the pool of both."""
    with open_lab(tmp_path, speed=1) as lab:
        lab.store.write_model(SUBMIT_TURN, SubmitTurn(pools=OTHER))
        lab.bedrock.client.create_model_invocation_job(
            jobName="ba-others-00000-of-00001-0123456789ab-1",
            roleArn=lab.bedrock.role_arn,
            modelId="amazon.titan-embed-text-v2:0",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://bucket/x.jsonl"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
        )
        lab.ask()
        tick = lab.tick()
        assert len([job for job in lab.jobs() if job.name.startswith("ba-calls-")]) == 1
        assert any("1 of 2 slots in use" in note for note in tick.notes)
        turn = lab.store.read_model(SUBMIT_TURN, SubmitTurn)
        assert turn
        assert turn.pools.keys() == {"ba-others-", "ba-calls-"}
