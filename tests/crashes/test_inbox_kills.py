"""
A process of an inbox that is killed at any effect and started again loses no file, and pays and refuses nothing twice.

The list of points is not written down: it is what an undisturbed run announces.
"""

import json
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance

from bedrock_assets.emulator import Emulator
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.limits import JobLimits
from tests.crashes.inbox_driver import opened, play
from tests.labs.inbox import lines
from tests.labs.instances import NO_COPIES
from tests.labs.short import some_of

AT_ONCE = 2
GOOD, OTHER = lines(10), lines(6, "parcel")
FILES = {"a-good.jsonl": GOOD, "b-again.jsonl": GOOD, "c-bad.jsonl": b"nonsense\n", "d-other.jsonl": OTHER}
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Bench:
    """The emulator that all processes talk to, and where they live."""

    folder: Path
    emulator: Emulator

    def prepare(self, name: str) -> Path:
        """A home with a Dagster instance of its own, that is also its bucket, and four files that were dropped."""
        home = self.folder / name
        (home / "dagster").mkdir(parents=True)
        (home / "to-process").mkdir()
        (home / "dagster" / "dagster.yaml").write_text(
            yaml.safe_dump({"telemetry": {"enabled": False}, "compute_logs": NO_COPIES})
        )
        for i, (file, content) in enumerate(FILES.items()):
            (home / "to-process" / file).write_bytes(content)
            os.utime(home / "to-process" / file, (1_700_000_000 + i, 1_700_000_000 + i))
        with DagsterInstance.from_config(str(home / "dagster")) as instance:
            instance.event_log_storage.get_concurrency_info("bedrock_batch")
        return home

    def run(self, home: Path, kill: tuple[str, int] | None = None) -> int:
        """One process; its exit code."""
        process = _context.Process(target=play, args=(str(home), self.emulator.endpoint_url, kill))
        process.start()
        process.join()
        return int(process.exitcode or 0)

    def points(self) -> dict[str, int]:
        """The points that an undisturbed run passes, and how often; nothing changes between a file and the next."""
        home = self.prepare("undisturbed")
        assert self.run(home) == 0, _log(home)
        self.require_all(home)
        told = [line.split("\t") for line in (home / "points.txt").read_text().splitlines()]
        return {point: int(n) for n, point in told if not re.match("after (write|move|delete)", point)}

    def crash(self, number: int, point: str, time: int) -> None:
        """Kill a process at that point, start it again, and look at what there is then."""
        home = self.prepare(f"home-{number}")
        assert self.run(home, (point, time)) == -signal.SIGKILL, _log(home)
        assert self.run(home) == 0, _log(home)
        self.require_all(home)
        shutil.rmtree(home)

    def require_all(self, home: Path) -> None:
        """Each content answered once, whole, by one job; what is refused told once, and left where it is."""
        lab = opened(home, self.emulator.endpoint_url)
        # A file whose run has crashed rests, so that its double may be taken meanwhile.
        (taken, refused) = sorted(["a-good", "b-again"], key=lambda key: key not in lab.states)
        assert lab.states == {taken: RequestState.ANSWERED, "d-other": RequestState.ANSWERED}
        for key, n in ((taken, 10), ("d-other", 6)):
            answers = lab.answers(key)
            assert answers["record_id"].to_list() == [f"r{i}" for i in range(n)]
            assert set(answers["status"]) == {"ok"}
            assert (home / "processed" / key / f"{key}.jsonl").read_bytes() == FILES[f"{key}.jsonl"]
        assert (lab.left, lab.n_refusals) == ([f"{refused}.jsonl", "c-bad.jsonl"], 2)
        names = [job.name for job in lab.jobs() if job.model == lab.inbox.spec.model]
        assert sorted(name.split("-")[2] for name in names) == [taken[0], "d"]
        for path in home.rglob("*.json"):
            json.loads(path.read_text())


@pytest.fixture
def bench(tmp_path: Path) -> Generator[Bench]:
    """A bench whose jobs take a fraction of a second."""
    _context.set_forkserver_preload(["tests.crashes.inbox_driver"])
    limits = JobLimits(min_records_per_job=1, max_jobs=1000)
    with Emulator(str(tmp_path), tmp_path / "jobs.sqlite", speed=9_000, limits=limits, any_model=True) as emulator:
        yield Bench(tmp_path, emulator)


@pytest.mark.slow
def test_an_inbox_killed_at_every_effect(bench: Bench, subtests: pytest.Subtests) -> None:
    """Killed at the first and at the last time that a point is passed, and started again: nothing lost, none twice."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        points = {(point, time): n for point, n in bench.points().items() for time in sorted({1, n})}
        crashes = {
            (point, time): pool.submit(bench.crash, number, point, time)
            for number, (point, time) in enumerate(some_of(points))
        }
        for (point, time), crash in crashes.items():
            with subtests.test(point=point, time=time):
                crash.result()


def _log(home: Path) -> str:
    log = home / "out.log"
    return "\n".join(log.read_text().splitlines()[-40:]) if log.exists() else "no output"
