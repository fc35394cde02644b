"""
A process that is killed at any effect and started again loses nothing and pays nothing twice.

The list of points is not written down: it is what an undisturbed run announces. A new effect is a new point.
"""

import json
import multiprocessing
import re
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import boto3
import polars as pl
import pytest
import yaml
from dagster import DagsterInstance

from bedrock_assets.audit import Effect
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.emulator import Emulator, Faults
from bedrock_assets.limits import JobLimits
from bedrock_assets.storage.store import Store
from tests.crashes.driver import AWS, ROLE, play
from tests.labs.instances import NO_COPIES
from tests.labs.short import some_of

N_ROWS = 30
WEST = "us-west-2"
N_SHRUNK = 20
AT_ONCE = 2
ROOM_BYTES = 2_000_000_000
LIMITS = {"max_records_per_job": 10, "min_records_per_job": 3, "max_jobs": 3, "max_concurrent_requests": 1}
CUT_SHORT = Faults(only_names="00000-of-.*", partial_fraction=0.6)
"""The first shard's jobs run out of time: 6 of 10 answered, then 2 of 4, and 2 records are left for on-demand calls."""
PAID_TWICE_AT = (
    "after invoke_model RECORD",
    "before write calls/jobs/SHARD/HASH-3/on-demand/RECORD.jsonl.out",
    "before write calls/preflight/HASH.json",
)
"""Between a call's answer and its file: on demand, unlike a job, a call cannot be found again."""

Point = str
_context = multiprocessing.get_context("forkserver")
_one_at_a_time = Lock()
"""`start` reaps the ended processes of all threads; one that another thread joins at that moment would end as 255."""


@dataclass(frozen=True)
class Case:
    """What a scenario begins with, and plays."""

    n_rows: int
    scenario: str = "complete"
    begun_with: int | None = None
    """Rows of a dataset that was completed before."""
    only: str = ""
    """Points of interest, a regular expression: those that another case does not pass in the same state."""
    speed: float = 9_000
    other_region: str = ""
    """Where shards are sent first, one at a time; the others go where the home is."""
    preflight: bool = False


CASES = {
    "first": Case(N_ROWS),
    "shrunk": Case(N_SHRUNK, begun_with=N_ROWS, only="raw|register|delete|table|materialize"),
    "elsewhere": Case(N_ROWS, only="routed|create_job|(write|delete) calls/(prompts|jobs)/SHARD", other_region=WEST),
    "tried": Case(N_ROWS, only="preflight|record requested|invoke_model", preflight=True),
    # Jobs of two seconds, so that there is time to stop them.
    "cancelled": Case(N_ROWS, "cancelled", only="stop_job|record|create_job", speed=150),
}


@dataclass(frozen=True)
class Bench:
    """The emulator that all processes of a case talk to, and where they live."""

    name: str
    case: Case
    folder: Path
    emulator: Emulator

    def crash(self, number: int, point: Point, last: int) -> None:
        """
        Kill a process at the last time that it passes a point, start it again, and look at what there is then.

        Raises:
            AssertionError: Something was lost, paid twice or left half written.
        """
        home = self.prepare(f"{self.name}-{number}")
        killed = self.run(home, self.case.n_rows, self.case.scenario, kill=(point, last))
        # How far a cancelled run comes depends on how far its jobs got.
        assert killed == -signal.SIGKILL or self.name == "cancelled", _log(home)
        assert self.run(home, self.case.n_rows) == 0, _log(home)
        self._require_one_payment_each(home, point)
        _require_each_row_once(home, self.case.n_rows)
        _require_whole_files(home)
        shutil.rmtree(home)
        assert not list(home.parent.glob(f"{home.name}-*/calls/jobs/**/*.out")), "answers were left elsewhere"

    def prepare(self, name: str) -> Path:
        """A home with a Dagster instance of its own, that is also its bucket."""
        home = self.folder / name
        shutil.copytree(self.folder / "template", home)
        if self.case.other_region:
            (self.folder / f"{name}-{self.case.other_region}").mkdir()
        return home

    def begin(self) -> None:
        """Make the home that every process of the case begins with."""
        template = self.folder / "template"
        (template / "dagster").mkdir(parents=True)
        (template / "dagster" / "dagster.yaml").write_text(
            yaml.safe_dump({"telemetry": {"enabled": False}, "compute_logs": NO_COPIES})
        )
        with DagsterInstance.from_config(str(template / "dagster")) as instance:
            instance.event_log_storage.get_concurrency_info("bedrock_batch")
        if self.case.begun_with:
            assert self.run(template, self.case.begun_with) == 0, _log(template)

    def run(self, home: Path, n_rows: int, scenario: str = "complete", kill: tuple[Point, int] | None = None) -> int:
        """One process; its exit code."""
        source = home / "calls.parquet"
        if not source.exists() or len(pl.read_parquet(source)) != n_rows:
            texts = [f"Call {i} was about invoice {i}. It was found." for i in range(n_rows)]
            pl.DataFrame({"id": [f"c{i}" for i in range(n_rows)], "text": texts}).write_parquet(source)
        arguments = (str(home), self.emulator.endpoint_url, self._settings(source, n_rows), scenario, kill)
        process = _context.Process(target=play, args=arguments)
        with _one_at_a_time:
            process.start()
        wait([process.sentinel])
        with _one_at_a_time:
            process.join()
        return int(process.exitcode or 0)

    def _settings(self, source: Path, n_rows: int) -> dict[str, Any]:
        model, region = _model(source.parent), self.case.other_region
        return {
            "name": "calls",
            "description": f"{n_rows} rows",
            "source": {"path": str(source), "id_column": "id"},
            "model": [{"model": model, "region": region, "max_jobs": 1}, model] if region else model,
            "task": {"text": {"prompt": "Summarise: {text}", "max_tokens": 64}},
            "limits": LIMITS,
            "preflight": self.case.preflight,
            "sinks": {"sql": {"connection": "sqlite:///sink.db", "table": "calls"}},
        }

    def points(self) -> dict[Point, int]:
        """
        The points that an undisturbed run passes, and how often.

        Between a written file and the next effect nothing changes: the point before that one stands for both.
        """
        home = self.prepare(f"{self.name}-undisturbed")
        assert self.run(home, self.case.n_rows, self.case.scenario) == 0, _log(home)
        lines = [line.split("\t") for line in (home / "points.txt").read_text().splitlines()]
        told = {point: int(count) for count, point in lines if re.search(self.case.only, point)}
        return {point: count for point, count in told.items() if not re.match("after (write|move|delete)", point)}

    def _require_one_payment_each(self, home: Path, point: Point) -> None:
        jobs = self._jobs(home)
        assert max(jobs.values()) == 1
        if self.name != "cancelled":
            assert jobs == self._jobs(self.folder / f"{self.name}-undisturbed")
        for calls in self.emulator.invocations():
            if calls.model_id == _model(home):
                # The record of the pre-flight may be one of those that its job leaves for calls on demand.
                assert calls.answered - calls.distinct <= (point in PAID_TWICE_AT) + self.case.preflight

    def _client(self, region: str) -> Any:
        keys = {name: value for name, value in AWS.items() if name != "region_name"}
        return boto3.client("bedrock", endpoint_url=self.emulator.endpoint_url, region_name=region, **keys)

    def _jobs(self, home: Path) -> Counter[tuple[str, str]]:
        """How many jobs there are for each shard and attempt of a home."""
        regions = filter(None, (AWS["region_name"], self.case.other_region))
        jobs = [job for region in regions for job in Bedrock(self._client(region), ROLE).list()]
        names = [job.name.removeprefix("ba-calls-").split("-") for job in jobs if job.model == _model(home)]
        return Counter(("-".join(name[:3]), name[-1]) for name in names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Where the homes live: in memory where there is room, because a killed process needs no disk to survive it."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own below it
    if memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES:
        with TemporaryDirectory(dir=memory) as made:
            yield Path(made)
    else:
        yield tmp_path_factory.mktemp("crashes")


@contextmanager
def opened(folder: Path, name: str) -> Generator[Bench]:
    """A case's bench, its homes prepared."""
    _context.set_forkserver_preload(["tests.crashes.driver"])
    (folder / name).mkdir()
    case, limits = CASES[name], JobLimits(min_records_per_job=1, max_jobs=1000)
    emulator = Emulator(
        str(folder / name),
        folder / f"{name}.sqlite",
        speed=case.speed,
        limits=limits,
        faults=CUT_SHORT,
        any_model=True,
    )
    with emulator:
        bench = Bench(name, case, folder / name, emulator)
        bench.begin()
        yield bench


@pytest.mark.slow
def test_killed_at_every_effect(folder: Path, subtests: pytest.Subtests) -> None:
    """Killed at each point and started again: one job for each content, every row once, no file half written."""
    passed: set[str] = set()
    for name in CASES:
        with opened(folder, name) as bench, ThreadPoolExecutor(AT_ONCE) as pool:
            points = bench.points()
            passed |= {point.split()[1] for point in points}
            crashes = {
                point: pool.submit(bench.crash, number, point, last)
                for number, (point, last) in enumerate(some_of(points).items())
            }
            for point, crash in crashes.items():
                with subtests.test(case=name, point=point):
                    crash.result()
    assert passed == {effect.value for effect in Effect}, "an effect that no case comes to"


def _model(home: Path) -> str:
    """A model of the home's own, so that the emulator's counts tell the homes apart."""
    return f"anthropic.claude-haiku-4-5-20{home.name}-v1:0"


def _require_each_row_once(home: Path, n_rows: int) -> None:
    manifest = json.loads((home / "calls/table/manifest.json").read_text())
    table = pl.concat(pl.read_parquet(home / part["key"]) for part in manifest["parts"])
    assert table["id"].to_list() == [f"c{i}" for i in range(n_rows)]
    assert set(table["status"]) == {"ok"}
    assert all(f"invoice {i}" in answer for i, answer in enumerate(table["response"]))
    assert sorted((home / "calls/table").glob("*.parquet")) == [home / part["key"] for part in manifest["parts"]]
    with closing(sqlite3.connect(home / "sink.db")) as opened:
        rows = opened.execute("SELECT record_id, response FROM calls").fetchall()
    assert sorted(rows) == sorted(table.select("record_id", "response").rows())


def _require_whole_files(home: Path) -> None:
    """Every file of the store can be read to its end; what a killed writer left is not among those that are listed."""
    for file in Store(str(home)).files("calls"):
        path = home / file.key
        if path.suffix == ".parquet":
            pl.read_parquet(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        else:
            assert all(json.loads(line) for line in path.read_text().splitlines()), file.key


def _log(home: Path) -> str:
    log = home / "out.log"
    return "\n".join(log.read_text().splitlines()[-40:]) if log.exists() else "no output"
