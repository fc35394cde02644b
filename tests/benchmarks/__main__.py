"""
Formatting and parsing beside their baselines, interleaved in one run: `python -m tests.benchmarks`.

Prints JSON: for each number of rows and each way, rows/s (median), peak memory (largest of the runs), and the ratios
that hold on a noisy machine. The time is of the whole process, start of Python included.

`--only emulator` measures the emulator alone: List and Get calls a second, and records a second of jobs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import emulator

WAYS = {"format": ("ours", "loop", "pandas", "floor"), "parse": ("ours", "loop", "floor")}

Figures = dict[str, dict[str, float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="100000,1000000", help="numbers of rows, with commas between")
    parser.add_argument("--only", default="", help="`format`, `parse` or `emulator`; all otherwise")
    parser.add_argument("--jobs", default="10,1000,10000", help="emulator: numbers of jobs, with commas between")
    parser.add_argument("--records", type=int, default=50_000, help="emulator: records of a job")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each; the median counts")
    parser.add_argument("--json", action="store_true", help="taken for symmetry: it always prints JSON")
    asked = parser.parse_args()
    if asked.only == "emulator":
        print(json.dumps({"emulator": emulator.measure(map(int, asked.jobs.split(",")), asked.records)}, indent=2))
        return
    names = [f"{stage}/{way}" for stage, ways in WAYS.items() if stage.startswith(asked.only) for way in ways]
    found: dict[int, Figures] = {}
    with tempfile.TemporaryDirectory() as work:
        for n_rows in map(int, asked.rows.split(",")):
            folder = Path(work) / str(n_rows)
            # In a process of its own: a child's peak memory begins with its parent's.
            subprocess.run([sys.executable, "-m", "tests.benchmarks.data", str(folder), str(n_rows)], check=True)
            found[n_rows] = measure(names, folder, n_rows, asked.repeat)
    result: dict[str, Any] = {"figures": found, "ratios": ratios(found)}
    if not asked.only:
        result["emulator"] = emulator.measure(map(int, asked.jobs.split(",")), asked.records)
    print(json.dumps(result, indent=2))


def measure(names: list[str], folder: Path, n_rows: int, repeat: int) -> Figures:
    """Run all in turn, *repeat* times; medians of time, maxima of memory."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            runs[name].append(_run(name, folder))
    return {
        name: {
            "seconds": round(statistics.median(s for s, _ in measured), 3),
            "rows_per_s": round(n_rows / statistics.median(s for s, _ in measured)),
            "peak_mb": round(max(mb for _, mb in measured), 1),
        }
        for name, measured in runs.items()
    }


def ratios(found: dict[int, Figures]) -> dict[str, Any]:
    """Ours against the loop and the floor, and memory against rows."""
    result: dict[str, Any] = {}
    sizes = sorted(found)
    for stage in sorted({name.split("/")[0] for name in found[sizes[0]]}):
        for n_rows in sizes:
            seconds = {way: found[n_rows][f"{stage}/{way}"]["seconds"] for way in WAYS[stage]}
            for way in WAYS[stage][1:-1]:
                result[f"{stage} {n_rows}: times faster than {way}"] = round(seconds[way] / seconds["ours"], 2)
            result[f"{stage} {n_rows}: times the floor's time"] = round(seconds["ours"] / seconds["floor"], 2)
        peaks = [found[n_rows][f"{stage}/ours"]["peak_mb"] for n_rows in sizes]
        result[f"{stage}: memory at {sizes[-1]} rows over {sizes[0]}"] = round(peaks[-1] / peaks[0], 2)
    return result


def _run(name: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak resident MB of one process."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.workloads", name, str(folder)])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed with code {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
