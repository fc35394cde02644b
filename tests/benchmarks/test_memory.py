"""Memory does not follow the number of rows, in any stage: five times the rows take hardly more."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.data import make
from tests.benchmarks.measure import run
from tests.benchmarks.stages import STAGES

pytestmark = pytest.mark.slow

ROWS = (300_000, 1_500_000)
"""The smaller number has several parts, shards and row groups; what polars reads ahead of CSV it does not fill."""
MB_PER_ROW = 500 / 2**20
"""A row of text in memory, at least; what is made of it is more."""
MOST_GROWTH = 0.6
"""Largest growth as a share of the further rows' size: buffers fill up, and allocators keep some of what they had."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The data of both sizes, made by processes of their own, as what they hold would count as the test's."""
    root = tmp_path_factory.mktemp("memory")
    made = [root / str(n_rows) for n_rows in ROWS]
    for folder, n_rows in zip(made, ROWS, strict=True):
        for kind in ("text", "text_store", "csv"):
            subprocess.run([sys.executable, "-m", make.__module__, str(folder), str(n_rows), kind], check=True)
    return made


@pytest.mark.parametrize("stage", ["ingest_parquet", "ingest_csv", "format", "parse", "join"])
def test_memory_is_flat(folders: list[Path], stage: str) -> None:
    """The peak of the whole process, as the benchmark measures it."""
    few, many = (run(["tests.benchmarks.stages", f"{STAGES[stage].name}/ours", str(one)], one) for one in folders)
    grown = (ROWS[1] - ROWS[0]) * MB_PER_ROW
    assert many.peak_mb - few.peak_mb < MOST_GROWTH * grown, (few, many)
