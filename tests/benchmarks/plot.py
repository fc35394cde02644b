"""Draws time and memory against rows, ours and the baselines, from the figures of one run."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# Text stays text, and the same figures give the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bedrock-assets", "font.size": 9})

from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first

STAGES = ("format", "parse", "embed")
COLOURS = {"ours": "#4f43dd", "pandas": "#d1495b", "orjson": "#edae49", "duckdb": "#66a182", "floor": "#8d96a3"}
LABELS = {
    "ours": "bedrock-assets",
    "pandas": "json loop, pandas",
    "orjson": "orjson loop",
    "duckdb": "DuckDB",
    "floor": "bare polars",
}
MEASURES = {"wall_s": "seconds", "peak_mb": "peak memory, MB"}


def draw(result: dict[str, Any], path: Path) -> None:
    """
    Write an SVG: a row of two diagrams for each stage that was measured at two numbers of rows or more.

    Args:
        result: What `python -m tests.benchmarks` prints.
    """
    stages = [name for name in STAGES if len(result.get(name, {}).get("figures", {})) > 1]
    figure, axes = plt.subplots(len(stages), 2, figsize=(8.5, 2.9 * len(stages)), squeeze=False)
    for row, name in zip(axes, stages, strict=True):
        for axis, measure in zip(row, MEASURES, strict=True):
            _lines(axis, result[name]["figures"], measure)
            axis.set_title(f"{result[name]['title']}: {MEASURES[measure]}", fontsize=9)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _lines(axis: Any, figures: dict[str, Any], measure: str) -> None:
    sizes = [int(n_rows) for n_rows in figures]
    for way in next(iter(figures.values())):
        values = [of_size[way][measure] for of_size in figures.values()]
        width = 2.2 if way == "ours" else 1.2
        axis.plot(sizes, values, marker="o", markersize=3, linewidth=width, color=COLOURS[way], label=LABELS[way])
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(sizes, [f"{n_rows:,}" for n_rows in sizes], minor=False)
    axis.minorticks_off()
    axis.set_xlabel("rows")
    axis.grid(visible=True, alpha=0.3)
