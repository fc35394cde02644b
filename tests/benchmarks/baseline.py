"""
What is kept of a run of the benchmark, in `baseline.json`: so that `--compare` says what got slower, or larger, since.

Seconds differ from machine to machine. Kept are our processor seconds over those of each other way through the same
stage in the same run, and our peak memory.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.stages import STAGES

PATH = Path(__file__).with_name("baseline.json")
NOISE = 0.15
"""A figure that is larger by this share, or by less, is not told: two runs on a busy machine differ by as much."""

Kept = dict[str, dict[str, dict[str, float]]]
"""By stage and number of rows: `cpu_over_{way}` and `peak_mb`."""


def kept_of(result: Mapping[str, Any]) -> Kept:
    """What is kept of what `python -m tests.benchmarks` prints."""
    stages = {name: result[name]["figures"] for name in STAGES if name in result}
    return {name: {rows: _figures(ways) for rows, ways in figures.items()} for name, figures in stages.items()}


def worse(now: Kept, before: Kept) -> dict[str, Any]:
    """
    What got worse by more than `NOISE`.

    Returns:
        `compared`, the number of figures that both have; and `worse`, for each of them its stage, rows and name, and
        both values.
    """
    found: dict[str, str] = {}
    n_compared = 0
    for stage, sizes in now.items():
        for rows, figures in sizes.items():
            old = before.get(stage, {}).get(rows, {})
            for name in figures.keys() & old.keys():
                n_compared += 1
                if figures[name] > old[name] * (1 + NOISE):
                    found[f"{stage}, {rows} rows, {name}"] = f"{figures[name]}, was {old[name]}"
    return {"compared": n_compared, "worse": dict(sorted(found.items()))}


def read(path: Path = PATH) -> Kept:
    """The baseline."""
    return json.loads(path.read_text("utf-8"))


def save(kept: Kept, path: Path = PATH) -> None:
    """Write the baseline; stages that were not measured stay as they were."""
    before = read(path) if path.exists() else {}
    path.write_text(json.dumps(before | kept, indent=2, sort_keys=True) + "\n", "utf-8")


def _figures(ways: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    own = ways["ours"]
    ratios = {f"cpu_over_{way}": round(own["cpu_s"] / told["cpu_s"], 2) for way, told in ways.items() if way != "ours"}
    return {**ratios, "peak_mb": round(own["peak_mb"])}
