"""
All stages beside their baselines, interleaved in one run: `python -m tests.benchmarks`.

Prints JSON: for each stage, number of rows and way the time and CPU seconds of the whole process, start of Python
included, rows a second, and the peak memory of the process tree; then ratios, which hold on a noisy machine. Those of
processor seconds hold best: `--compare` tells which of them, and which peak, is worse than in the committed baseline,
that was made with `--rows 100000 --repeat 5 --save`.

Ways: `ours`; `pandas`, a per-row loop with `json` and a pandas merge, as public samples have it; `orjson`, the fastest
such loop; `duckdb`; and `floor`, the bare polars expression without ids, shards, hashes or tolerance of broken lines.

Parts, for `--only` with commas between. Run by default: the stages `format`, `parse`, `embed` (a vector for each 20
rows), `join`, `ingest_parquet`, `ingest_csv`, `ingest_datasets`; and `emulator`. Run when named: `s3`, format, parse,
embed and join against an S3 server on this machine; `tick`, a sensor's tick, which takes some minutes; `overhead`, the
whole pipeline through Dagster.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import baseline
from tests.benchmarks.measure import Figures, measure, ratios
from tests.benchmarks.stages import STAGES, Stage

DEFAULT = (*STAGES, "emulator")


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    only: list[str] = asked.only.split(",") if asked.only else list(DEFAULT)
    result: dict[str, Any] = {"machine": {"cpus": os.cpu_count(), "python": platform.python_version()}}
    with tempfile.TemporaryDirectory() as workload:
        for name in only:
            if name in STAGES:
                result[name] = of_stage(STAGES[name], asked.rows, asked.ways, asked.repeat, Path(workload))
            else:
                result[name] = _others(asked)[name](Path(workload))
    if asked.compare:
        result["compared with the baseline"] = baseline.worse(baseline.kept_of(result), baseline.read())
    if asked.save:
        baseline.save(baseline.kept_of(result))
    if asked.plot:
        from tests.benchmarks.plot import draw

        draw(result, asked.plot)
    print(json.dumps(result, indent=2))


def of_stage(stage: Stage, rows: Sequence[int], ways: Sequence[str], repeat: int, workload: Path) -> dict[str, Any]:
    """Figures by number of rows, and ratios."""
    found: dict[int, Figures] = {}
    for n_rows in rows:
        folder = workload / f"{n_rows}-vectors" if stage.data == "vectors" else workload / str(n_rows)
        n_items = stage.n_items(n_rows)
        # In a process of its own: a child's peak memory begins with its parent's.
        made = ["tests.benchmarks.data", str(folder), str(n_items), stage.data]
        subprocess.run([sys.executable, "-m", *made], check=True)
        names = [way for way in stage.ways if not ways or way in ways]
        commands = {way: ["tests.benchmarks.stages", f"{stage.name}/{way}", str(folder)] for way in names}
        found[n_rows] = measure(commands, n_items, repeat, folder)
    sizes = {n_rows: stage.n_items(n_rows) for n_rows in rows}
    figures = {str(sizes[n_rows]): figures for n_rows, figures in found.items()}
    return {"title": stage.title, "figures": figures, "ratios": ratios(found, sizes)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=_numbers, default=[100_000, 1_000_000], help="with commas between")
    parser.add_argument("--only", default="", help="parts, with commas between")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=[], help="only these, with commas between")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each; the median counts")
    parser.add_argument("--shards", type=_numbers, default=[50, 1000, 5000], help="tick: numbers of open shards")
    parser.add_argument("--jobs", type=_numbers, default=[10, 1000, 10_000], help="emulator: numbers of jobs")
    parser.add_argument("--records", type=int, default=50_000, help="emulator: records of a job")
    parser.add_argument("--plot", type=Path, help="SVG of time and memory against rows, to be written")
    parser.add_argument("--compare", action="store_true", help="tell what is slower or larger than in baseline.json")
    parser.add_argument("--save", action="store_true", help="write baseline.json, from a run of all ways")
    parser.add_argument("--json", action="store_true", help="taken for symmetry: it always prints JSON")
    return parser.parse_args()


def _others(asked: argparse.Namespace) -> dict[str, Callable[[Path], Any]]:
    """The parts that are not ways through a stage, imported when they are run."""

    def of_emulator(_: Path) -> Any:
        from tests.benchmarks import emulator

        return emulator.measure(asked.jobs, asked.records)

    def of_tick(_: Path) -> Any:
        from tests.benchmarks import tick

        return {n: tick.measure(n, asked.repeat) for n in asked.shards}

    def of_overhead(workload: Path) -> Any:
        from tests.benchmarks import overhead

        return overhead.measure(workload)

    def of_s3(workload: Path) -> Any:
        from tests.benchmarks import s3

        return s3.measure(asked.rows, asked.repeat, workload)

    return {"emulator": of_emulator, "tick": of_tick, "overhead": of_overhead, "s3": of_s3}


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
