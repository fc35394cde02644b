"""
Format, parse, embed and join against an S3 server on this machine: `python -m tests.benchmarks --only s3`.

`ours` streams from S3 and to S3. `local` is the same code with a local folder. `pandas` is what samples do: download,
the per-row loop, upload. The server, SeaweedFS, shares the machine; its memory is not counted.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3

from tests.benchmarks import loops
from tests.benchmarks.measure import Figures, ratios, run
from tests.benchmarks.measure import measure as in_turn

BUCKET = "benchmark"
STAGES = {"format": "text", "parse": "text", "embed": "vectors", "join": "text"}
WAYS = ("ours", "pandas", "local")
_NEEDED = {
    "format": ("input.parquet",),
    "parse": ("input.parquet", "outputs/"),
    "embed": ("input.parquet", "outputs/"),
    "join": ("store/calls/raw/", "store/calls/outputs/"),
}


def measure(rows: Sequence[int], repeat: int, workload: Path) -> dict[str, Any]:
    """Figures and ratios of each stage."""
    from tests.benchmarks.stages import VECTOR_SHARE
    from tests.emulator.worlds import seaweedfs_server

    found: dict[str, dict[int, Figures]] = {stage: {} for stage in STAGES}
    sizes: dict[str, dict[int, int]] = {stage: {} for stage in STAGES}
    (workload / "s3").mkdir()
    with seaweedfs_server(workload / "s3", str(Path(sys.executable).with_name("weed"))) as server:
        server.create_bucket(BUCKET)
        for n_rows in rows:
            for stage, kind in STAGES.items():
                n_items = max(1, n_rows // VECTOR_SHARE) if kind == "vectors" else n_rows
                folder = workload / f"{n_rows}-{kind}-s3"
                if not folder.exists():
                    for made in (kind, f"{kind}_store"):
                        run(["tests.benchmarks.data", str(folder), str(n_items), made], workload)
                    run(["tests.benchmarks.s3", "upload", str(folder)], workload, server.environment)
                commands = {way: ["tests.benchmarks.s3", f"{stage}/{way}", str(folder)] for way in WAYS}
                found[stage][n_rows] = in_turn(commands, n_items, repeat, folder, server.environment)
                sizes[stage][n_rows] = n_items
    return {
        stage: {
            "figures": {str(sizes[stage][n_rows]): figures for n_rows, figures in of_rows.items()},
            "ratios": ratios(of_rows, sizes[stage]),
        }
        for stage, of_rows in found.items()
    }


def upload(folder: Path) -> None:
    """Copy what is in *folder* into the bucket, under its name."""
    client = boto3.client("s3")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.upload_file(str(path), BUCKET, f"{folder.name}/{path.relative_to(folder)}")


def run_way(stage: str, way: str, folder: Path) -> None:
    """One way through one stage."""
    if way == "pandas":
        _download_and_loop(stage, folder)
        return
    from bedrock_assets.storage.store import Store
    from tests.benchmarks import ours

    store = Store(f"s3://{BUCKET}/{folder.name}/store") if way == "ours" else ours.store_of(folder)
    of_stage: dict[str, Callable[[], object]] = {
        "format": lambda: ours.format_in_store(folder, store),
        "parse": lambda: ours.collect_in_store(folder, store),
        "embed": lambda: ours.collect_in_store(folder, store, embed=True),
        "join": lambda: ours.join_in_store(folder, store),
    }
    of_stage[stage]()


def _download_and_loop(stage: str, folder: Path) -> None:
    client, there = boto3.client("s3"), folder / "downloaded"
    shutil.rmtree(there, ignore_errors=True)
    for prefix in _NEEDED[stage]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{folder.name}/{prefix}")
        for key in [item["Key"] for page in pages for item in page.get("Contents", [])]:
            path = there / key.removeprefix(f"{folder.name}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, key, str(path))
    getattr(loops, f"pandas_{stage}")(there)
    for path in there.glob("pandas.*"):
        client.upload_file(str(path), BUCKET, f"{folder.name}/{path.name}")


if __name__ == "__main__":
    if sys.argv[1] == "upload":
        upload(Path(sys.argv[2]))
    else:
        run_way(*sys.argv[1].split("/"), Path(sys.argv[2]))
