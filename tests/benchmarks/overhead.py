"""
What Dagster and this project's own work around jobs cost a shard: `python -m tests.benchmarks --only overhead`.

The whole pipeline on a real Dagster instance (SQLite), an emulator whose jobs take no time and ten rows a shard, so
that there is hardly any data. Runs are executed in this process, one after the other, and seconds are those of its
processor. A launched run costs a process more: `process` is one that starts, loads the code location and ends.
"""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

from tests.labs.dispatch import RANGE_END_TAG, RANGE_START_TAG, Lab, open_lab
from tests.test_imports import LOAD

SHARDS = (10, 40)
INSTANT = 1_000_000


def measure(workload: Path) -> dict[str, Any]:
    """Seconds of each step and the size of Dagster's files at each number of shards, and of one shard more."""
    found = {n: _measured(workload / f"overhead-{n}", n) for n in SHARDS}
    few, many = SHARDS
    return {
        "figures": {str(n): steps for n, steps in found.items()},
        "one shard more": {
            step: round((found[many][step] - found[few][step]) / (many - few), 4) for step in found[few]
        },
        "process": round(_process_s(), 2),
    }


def _measured(folder: Path, n_shards: int) -> dict[str, float]:
    folder.mkdir()
    with open_lab(folder, n_rows=10 * n_shards, max_jobs=n_shards, quota=n_shards, speed=INSTANT) as lab:
        steps: dict[str, Callable[[], object]] = {
            "raw_dataset": lambda: lab.materialize("raw_dataset"),
            "prompt_shards": lambda: _spanned(lab, "prompt_shards"),
            "ask": lambda: _spanned(lab, "batch_outputs"),
            "submit and collect": lab.finish,
            "joined_table": lambda: lab.materialize("joined_table"),
        }
        seconds = {step: round(_seconds(workload), 3) for step, workload in steps.items()}
    n_bytes = sum(path.stat().st_size for path in (folder / "dagster").rglob("*") if path.is_file())
    return seconds | {"all": round(sum(seconds.values()), 3), "event log, MB": round(n_bytes / 1e6, 3)}


def _spanned(lab: Lab, asset: str) -> None:
    assert lab.materialize(asset, tags={RANGE_START_TAG: lab.shards[0], RANGE_END_TAG: lab.shards[-1]})


def _process_s() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds(workload: Callable[[], object]) -> float:
    started = process_time()
    workload()
    return process_time() - started
