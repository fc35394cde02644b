"""A killed emulator goes on where it was."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.emulator.lab import Lab, StartLab, connect, records
from tests.emulator.worlds import World

N_RECORDS = 4000

SERVER = """
import sys
from pathlib import Path
from bedrock_assets.emulator import Emulator, serve
from bedrock_assets.limits import JobLimits
limits = JobLimits.model_validate({"min_records_per_job": 1})
emulator = Emulator(sys.argv[1], Path(sys.argv[2]), speed=float(sys.argv[3]), limits=limits, any_model=True)
serve(emulator, lambda url: print(url, flush=True))
"""

Serve = Callable[[float], tuple["subprocess.Popen[str]", Lab]]


@pytest.fixture
def serve(start: StartLab, tmp_path: Path, world: World) -> Iterator[Serve]:
    """Start an emulator in a process of its own, on the same buckets and database each time."""
    processes: list[subprocess.Popen[str]] = []
    idle = start(db=tmp_path / "idle.sqlite").emulator

    def serve_process(speed: float) -> tuple[subprocess.Popen[str], Lab]:
        command = [sys.executable, "-c", SERVER, world.store, str(tmp_path / "served.sqlite"), str(speed)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        return process, Lab(idle, connect(url), world)

    yield serve_process
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_until_half_done(lab: Lab, arn: str) -> int:
    """Wait until some records are processed and others not; how many are."""
    while not 0 < (n_records := lab.get(arn)["processedRecordCount"]) < N_RECORDS:
        time.sleep(0.01)
    return n_records


@pytest.mark.parametrize("stop_first", [False, True])
def test_kill_and_restart(serve: Serve, start: StartLab, stop_first: bool) -> None:
    """A job that was InProgress or Stopping when the process was killed ends once, with the output due to it."""
    process, lab = serve(200)
    uri = lab.put("in/x.jsonl", records(N_RECORDS))
    arn = lab.create("a-job", uri, clientRequestToken="token-1")
    waiting = lab.create("waiting-job", uri)
    n_before = wait_until_half_done(lab, arn)
    if stop_first:
        lab.client.stop_model_invocation_job(jobIdentifier=arn)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "manifest.json.out" not in lab.output_names(arn)

    process, lab = serve(2000)
    assert lab.create("a-job", uri, clientRequestToken="token-1") == arn
    assert lab.get(arn)["processedRecordCount"] >= n_before, "counts never go back"
    job = lab.wait(arn)
    assert job["status"] == ("Stopped" if stop_first else "Completed")
    assert lab.wait(waiting)["status"] == "Completed"
    lines = lab.raw_lines(arn, "x.jsonl.out")
    assert len(lines) == len(set(lines)) == job["processedRecordCount"] == lab.manifest(arn)["processedRecordCount"]
    assert n_before <= len(lines) <= N_RECORDS

    undisturbed = start()
    twin = undisturbed.create("a-job", uri)
    undisturbed.wait(twin)
    assert undisturbed.raw_lines(twin, "x.jsonl.out")[: len(lines)] == lines


def test_a_signal_ends_it_gracefully(serve: Serve) -> None:
    """SIGTERM ends the process with status 0; the jobs are there when it starts again."""
    process, lab = serve(1)
    arn = lab.create("a-job")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    _, lab = serve(10_000)
    assert lab.wait(arn)["status"] == "Completed"


def test_a_taken_port_is_an_error(start: StartLab, tmp_path: Path) -> None:
    """A port that is in use is reported by the caller's own call, and leaves no thread behind."""
    port = int(start().emulator.endpoint_url.rsplit(":", 1)[-1])
    threads = threading.active_count()
    with pytest.raises(OSError, match="in use"):
        start(db=tmp_path / "other.sqlite", port=port)
    assert threading.active_count() == threads
