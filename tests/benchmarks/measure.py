"""Runs ways in turn, each in a process of its own, and tells their times and peak memory."""

import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psutil

Figures = dict[str, dict[str, float]]
SAMPLE_S = 0.1
MB = 2**20


@dataclass(frozen=True)
class Run:
    """One process, from its start to its end, and all that it started."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    """Largest sum of resident memory over the process tree, sampled, or of one process, as Linux keeps it."""


def measure(
    commands: Mapping[str, Sequence[str]], n_rows: int, repeat: int, folder: Path, env: Mapping[str, str] | None = None
) -> Figures:
    """
    Run all in turn, *repeat* times.

    Returns:
        For each name the medians `wall_s`, `cpu_s` and `rows_per_s`, the fastest `best_s`, the largest `peak_mb`.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, command in commands.items():
            runs[name].append(run(command, folder, env))
    return {name: _summary(done, n_rows) for name, done in runs.items()}


def run(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> Run:
    """Run a module of this package, with *env* added to the environment; its messages go to a file in *folder*."""
    with (folder / "stderr.txt").open("w+") as told:
        started = perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=told, stderr=told, env={**os.environ, **(env or {})}
        )
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - started
        watch.ended.set()
        watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            raise SystemExit(f"{' '.join(command)} failed with code {process.returncode}:\n{told.read()[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, max(watch.peak_mb, usage.ru_maxrss / 1024))


class _Watch(threading.Thread):
    """Adds up the resident memory of a process and all below it, some times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak_mb, self.ended = psutil.Process(pid), 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_S):
            with suppress(psutil.Error):
                n_bytes = self.process.memory_info().rss
                for child in self.process.children(recursive=True):
                    with suppress(psutil.Error):
                        n_bytes += child.memory_info().rss
                self.peak_mb = max(self.peak_mb, n_bytes / MB)


def _summary(runs: Sequence[Run], n_rows: int) -> dict[str, float]:
    wall_s = statistics.median(run.wall_s for run in runs)
    return {
        "wall_s": round(wall_s, 3),
        "best_s": round(min(run.wall_s for run in runs), 3),
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 3),
        "rows_per_s": round(n_rows / wall_s),
        "peak_mb": round(max(run.peak_mb for run in runs), 1),
    }


def ratios(found: Mapping[int, Figures], sizes: Mapping[int, int]) -> dict[str, float]:
    """
    Ours against each other way, and our memory against the number of rows.

    Args:
        found: Figures by number of rows.
        sizes: The number of rows that a stage worked on, by the same.
    """
    told: dict[str, float] = {}
    for n_rows, figures in found.items():
        for way in figures:
            if way != "ours":
                faster = figures[way]["wall_s"] / figures["ours"]["wall_s"]
                told[f"{sizes[n_rows]} rows: times faster than {way}"] = round(faster, 2)
                cost = figures["ours"]["cpu_s"] / figures[way]["cpu_s"]
                told[f"{sizes[n_rows]} rows: processor seconds over {way}"] = round(cost, 2)
        if "floor" in figures:
            slower = figures["ours"]["wall_s"] / figures["floor"]["wall_s"]
            told[f"{sizes[n_rows]} rows: times the floor's time"] = round(slower, 2)
    small, large = min(found), max(found)
    if small != large:
        grown = found[large]["ours"]["peak_mb"] / found[small]["ours"]["peak_mb"]
        told[f"memory at {sizes[large]} rows over {sizes[small]}"] = round(grown, 2)
    return told
