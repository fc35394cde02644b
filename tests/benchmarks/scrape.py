"""
One scrape of `bedrock-assets metrics` at 50, 1,000 and 5,000 shards: `python -m tests.benchmarks.scrape`.

On a real Dagster instance (SQLite) and the emulator over HTTP. Half of the shards are answered, 40 are at Bedrock, and
the others wait. Prints JSON: seconds of the first scrape, which reads the whole log, of one in the minute after, which
reads it again, and of later ones with Bedrock's list asked anew or held (medians); the calls to Bedrock of each; bytes.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
from prometheus_client import generate_latest

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.regions import Regions
from bedrock_assets.emulator import Emulator
from bedrock_assets.jobs.collect_runs import CollectRuns
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.event_log import OVERLAP_S
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.partitions import register_shards
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.limits import JobLimits
from bedrock_assets.metrics.collector import DeploymentCollector
from bedrock_assets.metrics.server import registry_of
from bedrock_assets.storage.store import Store
from tests.benchmarks.tick import ROLE, STANDING_STILL, _pipeline, _seconds

FACTS = {"n_ok": 100, "n_error": 0, "n_missing": 0, "input_tokens": 1000, "output_tokens": 100, "cost_usd": 0.1}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", default="50,1000,5000", help="numbers of shards, with commas between")
    parser.add_argument("--repeat", type=int, default=7, help="scrapes of each; the median counts")
    asked = parser.parse_args()
    print(json.dumps({n: measure(n, asked.repeat) for n in map(int, asked.shards.split(","))}, indent=2))


def measure(n_shards: int, repeat: int) -> dict[str, Any]:
    """Figures of one size."""
    with tempfile.TemporaryDirectory() as workload:
        folder = Path(workload)
        (folder / "s3" / "bucket").mkdir(parents=True)
        (folder / "dagster").mkdir()
        limits, quiet = JobLimits(max_jobs=1000), {"telemetry": {"enabled": False}}
        emulator = Emulator(
            str(folder / "s3"), folder / "jobs.sqlite", speed=STANDING_STILL, limits=limits, any_model=True
        )
        with emulator, dg.DagsterInstance.local_temp(str(folder / "dagster"), overrides=quiet) as instance:
            return _measured(instance, emulator.endpoint_url, folder, n_shards, repeat)


def _measured(instance: dg.DagsterInstance, url: str, folder: Path, n_shards: int, repeat: int) -> dict[str, Any]:
    pipeline, store = _pipeline(folder), Store(str(folder / "s3" / "bucket"))
    aws = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
    bedrock, calls = Bedrock(boto3.client("bedrock", endpoint_url=url, **aws), ROLE), Counter[str]()
    regions = Regions.only(bedrock, store)
    _fill(instance, n_shards)
    ledger = Ledger("calls")
    ledger.refresh(instance)
    instance.event_log_storage.set_concurrency_slots("bedrock_batch", 40)
    Tick(instance, {"calls": pipeline.workload}, {"calls": ledger}, regions, CollectRuns(instance)).run()
    bedrock.client.meta.events.register("before-call.bedrock", lambda model, **_: calls.update([model.name]))

    def registry(hold_s: float) -> Any:
        return registry_of(DeploymentCollector([pipeline.spec], instance, regions, hold_s, print))

    asking, holding, size = registry(0), registry(3600), 0
    first_s = _seconds(lambda: generate_latest(asking))
    again_s = _seconds(lambda: generate_latest(asking))
    generate_latest(holding)
    time.sleep(OVERLAP_S + 1)
    found: dict[str, Any] = {"first, s": round(first_s, 3), "in the minute after, s": round(again_s, 3)}
    for name, one in (("Bedrock asked", asking), ("Bedrock held", holding)):
        size = len(generate_latest(one))
        calls.clear()
        times = [_seconds(lambda one=one: generate_latest(one)) for _ in range(repeat)]
        told = {"median, s": round(statistics.median(times), 4), "largest, s": round(max(times), 4)}
        found[name] = told | {"calls": {call: n / repeat for call, n in calls.items()}}
    return {**found, "bytes": size}


def _fill(instance: dg.DagsterInstance, n_shards: int) -> None:
    """Register shards, ask for all and answer half of them."""
    keys, writer = [f"{i:05d}-of-{n_shards:05d}" for i in range(n_shards)], Ledger("calls")
    register_shards(instance, "calls", keys)
    for i, key in enumerate(keys):
        request = Request("calls", key, f"{i:016x}", 1, f"calls/prompts/{key}/x.jsonl", 100, "run")
        writer.log(instance.report_runless_asset_event, request, RequestState.REQUESTED)
    writer.refresh(instance)
    for key in keys[: n_shards // 2]:
        about = writer.entries[key].request
        facts = {**FACTS, "fingerprint": about.fingerprint, "attempt": 1, "request_id": about.storage_id}
        event = dg.AssetMaterialization(["calls", "batch_outputs"], partition=key, metadata=facts)
        instance.report_runless_asset_event(event)


if __name__ == "__main__":
    main()
