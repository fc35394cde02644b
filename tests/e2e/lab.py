"""Drives a real stack: Dagster's web server and daemon, the emulator over HTTP, and looks at what they did."""

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import boto3
import polars as pl
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.components.load import load_pipeline
from bedrock_assets.local.stack import Settings, Stack, local_stack
from bedrock_assets.local.ui import DagsterUI

PATIENCE_S = 240


@dataclass
class Lab:
    """One stack, and the handles to look into it."""

    stack: Stack
    ui: DagsterUI
    bedrock: Bedrock
    instance: DagsterInstance
    most_in_flight: int = 0
    _ended: Event = field(default_factory=Event)

    def jobs(self, pipeline: str) -> list[Job]:
        """All jobs that were ever created for a pipeline."""
        return list(self.bedrock.list(name_contains=pipeline.replace("_", "-")))

    def materialize_raw(self, pipeline: str) -> list[str]:
        """Run `raw_dataset` and return the registered shards."""
        run_id = self.ui.materialize([pipeline, "raw_dataset"])
        assert self.ui.wait_for_run(run_id) == "SUCCESS", self.ui.failures(run_id)
        return list(self.instance.get_dynamic_partitions(f"{pipeline}_shards"))

    def backfill(self, pipeline: str, assets: list[str], shards: list[str]) -> str:
        """Launch a backfill as the UI does."""
        config = {"ops": {f"{pipeline}__batch_outputs": {"config": {"poll_s": 1.0}}}}
        return self.ui.backfill([[pipeline, asset] for asset in assets], shards, config)

    def wait_for_backfill(self, backfill_id: str) -> tuple[str, dict[str, dict[str, int]]]:
        """Status and counts with which a backfill ends."""
        self.until(lambda: self.ui.backfill_status(backfill_id)[0] not in ("REQUESTED", "CANCELING", "FAILING"))
        return self.ui.backfill_status(backfill_id)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, or fail."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.stack.require_alive()
            assert time.monotonic() < deadline, "waited too long; see dagster.log"
            time.sleep(0.3)

    def materialized(self, pipeline: str, asset: str) -> int:
        """How often an asset was materialized."""
        return len(self.instance.fetch_materializations(AssetKey([pipeline, asset]), limit=1000).records)

    def launched_run(self, backfill_id: str) -> str:
        """The waiting run of a backfill."""
        found: list[str] = []

        def started() -> bool:
            tags = {"dagster/backfill": backfill_id}
            statuses = [DagsterRunStatus.STARTED]
            found[:] = [run.run_id for run in self.instance.get_runs(RunsFilter(tags=tags, statuses=statuses))]
            return bool(found)

        self.until(started)
        return found[0]

    def kill_run(self, run_id: str) -> None:
        """SIGKILL the process of a run."""
        logs = [entry.message for entry in self.instance.all_logs(run_id)]
        pids = [int(found[1]) for message in logs if (found := re.search(r"pid: (\d+)", message or ""))]
        assert pids, logs
        os.kill(pids[0], signal.SIGKILL)

    def cancel_run(self, run_id: str) -> None:
        """Cancel a run as the UI does."""
        mutation = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
        assert self.ui.query(mutation, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def set_faults(self, **faults: object) -> None:
        """Replace the emulator's faults."""
        request = urllib.request.Request(
            f"{self.stack.emulator_url}/admin/faults",
            json.dumps(faults).encode(),
            {"Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=10).close()

    def table(self, pipeline: str) -> pl.DataFrame:
        """The final table."""
        return pl.read_parquet(self.stack.store / pipeline / "table" / "*.parquet")

    def outputs(self, pipeline: str) -> pl.DataFrame:
        """The answers of all shards."""
        return pl.read_parquet(self.stack.store / pipeline / "outputs" / "*.parquet")

    def source(self, pipeline: str) -> pl.DataFrame:
        """The pipeline's input."""
        return pl.concat(load_pipeline(pipeline).source.batches())

    def watch(self) -> None:
        """Note the most jobs in flight, many times a second."""
        while not self._ended.wait(0.05):
            self.most_in_flight = max(self.most_in_flight, sum(job.status.in_flight for job in self.bedrock.list()))


@contextmanager
def lab(home: Path, *, speed: float = 60, max_jobs: int = 2) -> Generator[Lab]:
    """A stack in *home* for the length of the block."""
    with local_stack(Settings(home, speed=speed, max_jobs=max_jobs)) as stack:
        ui = DagsterUI(stack.ui_url)
        ui.wait_until_loaded(stack.require_alive)
        client = boto3.client(
            "bedrock",
            endpoint_url=stack.emulator_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        with DagsterInstance.from_config(str(home / "dagster")) as instance:
            made = Lab(stack, ui, Bedrock(client, "arn:aws:iam::123456789012:role/x"), instance)
            watcher = Thread(target=made.watch)
            watcher.start()
            try:
                yield made
            finally:
                made._ended.set()
                watcher.join()
