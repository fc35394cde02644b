"""
One tick of the sensor at 50, 1,000 and 5,000 open shards: `python -m tests.benchmarks.tick`.

On a real Dagster instance (SQLite) and the emulator over HTTP. Prints JSON: seconds to read the whole event log, as
after a restart; seconds of a tick that finds all slots taken (median and largest), and of one that reads the latest
events again; seconds of one that submits all it may; and the calls that they made. Waits a minute for each size.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import polars as pl

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.emulator import Emulator
from bedrock_assets.jobs.collect_runs import CollectRuns
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.event_log import OVERLAP_S
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.reconcile import MAX_SUBMISSIONS
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.limits import JobLimits
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.store import Store

ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"
SLOTS = 100
STANDING_STILL = 0.01
"""Speed of the emulator's clock, so that no job ends."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", default="50,1000,5000", help="numbers of open shards, with commas between")
    parser.add_argument("--repeat", type=int, default=7, help="ticks of each; the median counts")
    asked = parser.parse_args()
    print(json.dumps({n: measure(n, asked.repeat) for n in map(int, asked.shards.split(","))}, indent=2))


def measure(n_shards: int, repeat: int) -> dict[str, Any]:
    """Figures of one size."""
    with tempfile.TemporaryDirectory() as workload:
        folder = Path(workload)
        (folder / "s3" / "bucket").mkdir(parents=True)
        (folder / "dagster").mkdir()
        emulator = Emulator(
            str(folder / "s3"),
            folder / "jobs.sqlite",
            speed=STANDING_STILL,
            limits=JobLimits(max_jobs=10 * SLOTS),
            any_model=True,
        )
        quiet = {"telemetry": {"enabled": False}}
        with emulator, dg.DagsterInstance.local_temp(str(folder / "dagster"), overrides=quiet) as instance:
            return _measured(_pipeline(folder), instance, emulator.endpoint_url, folder, n_shards, repeat)


def _measured(
    pipeline: Pipeline, instance: dg.DagsterInstance, url: str, folder: Path, n_shards: int, repeat: int
) -> dict[str, Any]:
    writer = Ledger("calls")
    for i in range(n_shards):
        key = f"{i:05d}-of-{n_shards:05d}"
        request = Request("calls", key, f"{i:016x}", 1, f"calls/prompts/{key}/x.jsonl", 100, "run")
        writer.log(instance.report_runless_asset_event, request, RequestState.REQUESTED)
    aws = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
    client = boto3.client("bedrock", endpoint_url=url, **aws)
    calls = Counter[str]()
    client.meta.events.register("before-call.bedrock", lambda model, **_: calls.update([model.name]))
    ledger, store, bedrock = Ledger("calls"), Store(str(folder / "s3" / "bucket")), Bedrock(client, ROLE)
    cold_s = _seconds(lambda: ledger.refresh(instance))

    def tick() -> None:
        ledger.refresh(instance)
        Tick(
            instance,
            {"calls": pipeline.workload},
            {"calls": ledger},
            Regions.only(bedrock, store),
            CollectRuns(instance),
        ).run()

    calls.clear()
    instance.event_log_storage.set_concurrency_slots("bedrock_batch", MAX_SUBMISSIONS)
    submit_s, submit_calls = _seconds(tick), dict(calls)
    instance.event_log_storage.set_concurrency_slots("bedrock_batch", SLOTS)
    for _ in range(SLOTS // MAX_SUBMISSIONS + 1):
        tick()
    fresh_s = _seconds(tick)
    time.sleep(OVERLAP_S + 1)
    tick()
    calls.clear()
    full = [_seconds(tick) for _ in range(repeat)]
    return {
        "log read from the start, s": round(cold_s, 3),
        "tick in the minute after all were asked for, s": round(fresh_s, 3),
        "tick with all slots taken, s": {"median": round(statistics.median(full), 3), "largest": round(max(full), 3)},
        "calls of such a tick": {name: n / repeat for name, n in calls.items()},
        f"tick that submits {MAX_SUBMISSIONS}, s": round(submit_s, 3),
        "calls of that tick": submit_calls,
    }


def _pipeline(folder: Path) -> Pipeline:
    pl.DataFrame({"text": ["x"]}).write_parquet(folder / "calls.parquet")
    settings = {
        "name": "calls",
        "source": {"path": str(folder / "calls.parquet")},
        "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "task": {"text": {"prompt": "{text}"}},
    }
    return Pipeline(PipelineSpec.model_validate(settings), folder)


def _seconds(workload: Callable[[], object]) -> float:
    started = time.perf_counter()
    workload()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
