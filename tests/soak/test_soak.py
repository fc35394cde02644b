"""
Two pipelines under all kinds of faults, while daemon and emulator are killed at random: nothing is lost or paid twice.

`SOAK_SHARDS` and `SOAK_S` make it larger: 60 shards and 900 seconds of faults are a thorough setting.
"""

import json
import os
import random
import time
import urllib.request
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import boto3
import polars as pl
import pytest
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.local.stack import store_folder
from bedrock_assets.local.ui import DagsterUI
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store
from tests.labs.short import SHORT
from tests.soak.definitions import SPECS, source_of
from tests.soak.site import Site, site

N_SHARDS = int(os.environ.get("SOAK_SHARDS", "4" if SHORT else "6"))
FAULTS_S = float(os.environ.get("SOAK_S", "30" if SHORT else "60"))
PATIENCE_S = 600 + 20 * N_SHARDS
SEED = 20261121
FAULTS: list[dict[str, object]] = [
    {"throttle_rate": 0.5},
    {"server_error_rate": 0.4, "latency_s": 0.2},
    {"lost_response_rate": 0.5},
    {"record_error_rate": 0.3, "record_error_code": 429, "record_error_message": "Too many requests"},
    {"malformed_line_rate": 0.1, "missing_record_rate": 0.1, "duplicate_record_rate": 0.2},
    {"partial_fraction": 0.5, "missing_manifest": True},
    {"partial_fraction": 0.9, "mark_expired": True},
    {"expire": True},
    {"fail_message": "Internal error", "fail_at": "InProgress", "partial_fraction": 0.5},
    {"fail_message": "Could not validate GetObject permissions to access S3 bucket"},
]


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    """Rows in are rows out, and there are as many jobs as distinct contents and counted attempts."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable
    with site(tmp_path, N_SHARDS, speed=60) as made:
        ui = DagsterUI(made.ui_url)
        ui.wait_until_loaded(made.require_alive)
        _launch(ui, made)
        _disturb(made, chance)
        _finish(ui, made)
        _judge(made)


def _launch(ui: DagsterUI, made: Site) -> None:
    for name in SPECS:
        run_id = ui.materialize([name, "raw_dataset"])
        assert ui.wait_for_run(run_id) == "SUCCESS", ui.failures(run_id)
    for name in SPECS:
        _backfill(ui, made, name, ["prompt_shards", "batch_outputs"])


def _backfill(ui: DagsterUI, made: Site, name: str, assets: list[str]) -> None:
    config = {"ops": {f"{name}__batch_outputs": {"config": {"poll_s": 2.0}}}}
    with DagsterInstance.from_config(str(made.home / "dagster")) as instance:
        shards = list(instance.get_dynamic_partitions(f"{name}_shards"))
    ui.backfill([[name, asset] for asset in assets], shards, config)


def _disturb(made: Site, chance: random.Random) -> None:
    """Other faults every few seconds; now and then a process dies, and comes back."""
    until = time.monotonic() + FAULTS_S
    while time.monotonic() < until:
        _set_faults(made, chance.choice(FAULTS))
        time.sleep(chance.uniform(2, 8))
        victim = chance.choice(["daemon", "emulator", "emulator", "nobody", "nobody"])
        if victim != "nobody":
            made.kill(victim)
            time.sleep(chance.uniform(0, 2))
            made.start(victim)
        made.require_alive()
    _set_faults(made, {})


def _finish(ui: DagsterUI, made: Site) -> None:
    """Launch again what failed, as a person does in the morning, until both tables are there."""
    deadline = time.monotonic() + PATIENCE_S
    with DagsterInstance.from_config(str(made.home / "dagster")) as instance:
        ledgers = {name: Ledger(name) for name in SPECS}
        while not all((store_folder(made.home) / name / "table" / "manifest.json").exists() for name in SPECS):
            made.require_alive()
            made.bury(instance)
            assert time.monotonic() < deadline, {name: _states(ledger) for name, ledger in ledgers.items()}
            for name, ledger in ledgers.items():
                ledger.refresh(instance)
                n_shards = len(instance.get_dynamic_partitions(f"{name}_shards"))
                states = _states(ledger)
                asked = states[RequestState.REQUESTED] + states[RequestState.SUBMITTED]
                active = instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))
                if not asked and not active and states[RequestState.ANSWERED] < n_shards:
                    _backfill(ui, made, name, ["prompt_shards", "batch_outputs"])
            time.sleep(2)


def _states(ledger: Ledger) -> Counter[RequestState]:
    return Counter(entry.state for entry in ledger.entries.values())


def _attempts(store: Store, last: Request) -> list[str]:
    """Names of the jobs of a shard's attempts, from its last request."""
    jobs = [*last.former_jobs, "" if last.inference_mode is InferenceMode.ON_DEMAND else "its own"]
    return [replace(last, attempt=i).job_name(store) for i, job in enumerate(jobs, 1) if job]


def _set_faults(made: Site, faults: dict[str, object]) -> None:
    """Tell the emulator, as soon as it listens."""
    body, headers = json.dumps(faults).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{made.emulator_url}/admin/faults", body, headers, method="PUT")
    for _ in range(100):
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except URLError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the emulator does not listen")


def _judge(made: Site) -> None:
    """What is in the tables, and what was paid for it."""
    store = Store(str(store_folder(made.home)))
    client = boto3.client(
        "bedrock",
        endpoint_url=made.emulator_url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    names = Counter(job.name for job in Bedrock(client, "role").list())
    assert max(names.values()) == 1
    expected: set[str] = set()
    with DagsterInstance.from_config(str(made.home / "dagster")) as instance:
        for name in SPECS:
            rows = source_of(name, N_SHARDS // len(SPECS))
            table = pl.read_parquet(f"{store.root}/{name}/table/*.parquet")
            assert table.select("id", "text").rows() == [(row["id"], row["text"]) for row in rows]
            assert set(table["status"]) <= {"ok", "error"}
            ledger = Ledger(name)
            ledger.refresh(instance)
            expected |= {job for entry in ledger.entries.values() for job in _attempts(store, entry.request)}
    assert set(names) == expected, "a job that no attempt accounts for, or an attempt without its job"
