"""
One process that does everything a deployment's processes do, from any state, and may be killed at any effect.

It brings a pipeline to its table as people and Dagster's daemon would: it materializes what is not materialized, asks
for shards that nobody asked for, ticks the sensor and runs what the sensor asks for. Killed and started again it goes
on, after it has declared the runs of its former life dead, as Dagster's run monitoring does.
"""

import os
import re
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.jobs.collect_runs import CollectRuns
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.regions import RegionConfig
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.sinks import sinks_of
from tests.labs.dispatch import RANGE_END_TAG, RANGE_START_TAG

ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"
AWS = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
PATIENCE_S = 120
RUN_KEY_TAG = "dagster/run_key"
ALIVE = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]
_VARYING = (
    (r"\d{5}-of-\d{5}", "SHARD"),
    (r"arn:\S+", "ARN"),
    (r"on-demand/\w+", "on-demand/RECORD"),
    (r"\b[0-9a-f]{8,}\b", "HASH"),
    (r"^c\d+$", "RECORD"),
    (r"/[a-z0-9]{12}/", "/JOB/"),
    (r"part-\d+", "part-NUMBER"),
)


@dataclass
class Deployment:
    """A pipeline with its own Dagster instance, over an emulator that somebody else runs."""

    home: Path
    endpoint_url: str
    settings: dict[str, Any]
    ledger: Ledger = field(init=False)
    n_ticks: int = 0

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(PipelineSpec.model_validate(self.settings), self.home)
        self.instance = DagsterInstance.from_config(str(self.home / "dagster"))
        self.ledger = Ledger(self.pipeline.spec.name)
        self.store_resource = StoreResource(url=str(self.home))
        endpoints = {"endpoint_url": self.endpoint_url, "runtime_endpoint_url": self.endpoint_url}
        self.bedrock = BedrockResource(role_arn=ROLE, regions=self._places(), **endpoints, **AWS)
        self.regions = self.bedrock.open(self.store_resource.open())

    def _places(self) -> list[RegionConfig]:
        """The other Regions that the pipeline names, each with a bucket beside the home."""
        named = [target.region for target in self.pipeline.spec.targets if target.region]
        url = {"endpoint_url": self.endpoint_url, "runtime_endpoint_url": self.endpoint_url}
        return [RegionConfig(region_name=name, store_url=f"{self.home}-{name}", **url) for name in named]

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self.pipeline.spec.name

    @property
    def shards(self) -> list[str]:
        """Registered partition keys."""
        return list(self.instance.get_dynamic_partitions(f"{self.name}_shards"))

    def bury_the_dead(self) -> None:
        """Fail the runs that a killed process has left, as run monitoring does."""
        for run in self.instance.get_runs(RunsFilter(statuses=ALIVE)):
            self.instance.report_run_failed(run)

    def complete(self) -> None:
        """From wherever things stand to a table of all shards, and to the same in a database."""
        self.bury_the_dead()
        if self._version("raw_dataset") != self.settings["description"]:
            self.materialize("raw_dataset", tags={"for": self.settings["description"]})
        self.materialize_shards("prompt_shards", [s for s in self.shards if not self._has_prompts(s)])
        deadline = time.monotonic() + PATIENCE_S
        while self.waiting():
            if time.monotonic() > deadline:
                raise TimeoutError(f"still waiting: {self.waiting()}")
            self.ask()
            self.tick()
            while any(job.status.in_flight for job in self.regions.list(name_contains=self.name)):
                time.sleep(0.02)
        self.materialize("joined_table")
        for sink in sinks_of(self.pipeline.spec):
            self.materialize(sink.asset)

    def waiting(self) -> dict[str, RequestState | None]:
        """Shards without answers to their present prompts."""
        self.ledger.refresh(self.instance)
        states = {shard: self._state(shard) for shard in self.shards}
        return {shard: state for shard, state in states.items() if state is not RequestState.ANSWERED}

    def ask(self) -> None:
        """Launch the shards that nobody waits for."""
        closed = [shard for shard, state in self.waiting().items() if state is None or not state.is_open]
        self.materialize_shards("batch_outputs", closed)

    def tick(self) -> None:
        """One tick of the sensor, and the runs it asks for, each run key once. Each tick is an hour after the last."""
        self.n_ticks += 1
        self.ledger.refresh(self.instance)
        collect_runs = CollectRuns(self.instance, datetime.now(UTC) + timedelta(hours=self.n_ticks))
        Tick(
            self.instance, {self.name: self.pipeline.workload}, {self.name: self.ledger}, self.regions, collect_runs
        ).run()
        for request in collect_runs.run_requests:
            run_key = str(request.run_key)
            if not self.instance.get_runs(RunsFilter(tags={RUN_KEY_TAG: run_key})):
                tags = {**request.tags, RUN_KEY_TAG: run_key}
                self.materialize("batch_outputs", request.partition_key, tags, must_succeed=False)

    def materialize_shards(self, asset: str, shards: list[str]) -> None:
        """Run an asset for some shards that stand together, in one run as a backfill does."""
        if shards:
            self.materialize(asset, tags={RANGE_START_TAG: shards[0], RANGE_END_TAG: shards[-1]})

    def materialize(
        self, asset: str, shard: str | None = None, tags: dict[str, str] | None = None, *, must_succeed: bool = True
    ) -> str:
        """Run an asset as Dagster would; the run's id."""
        config = {"ops": {f"{self.name}__batch_outputs": {"config": {"wait": False}}}}
        result = dg.materialize(
            build_assets(self.pipeline),
            selection=[dg.AssetKey([self.name, asset])],
            partition_key=shard,
            instance=self.instance,
            resources={"bedrock_batch_store": self.store_resource, "bedrock_batch": self.bedrock},
            tags=tags,
            run_config=config if asset == "batch_outputs" else {},
            raise_on_error=must_succeed,
        )
        return result.run_id

    def _state(self, shard: str) -> RequestState | None:
        entry, made = self.ledger.entries.get(shard), self.ledger.staleness.prompts.get(shard)
        current = entry and made and entry.request.fingerprint == made.fingerprint
        return entry.state if entry and current else None

    def _has_prompts(self, shard: str) -> bool:
        self.ledger.refresh(self.instance)
        made, dataset = self.ledger.staleness.prompts.get(shard), self.ledger.staleness.dataset
        return bool(made and dataset and made.raw_revision == dataset.revision)

    def _version(self, asset: str) -> str | None:
        """Which source an asset was materialized of last."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey([self.name, asset]))
        run = self.instance.get_run_by_id(event.run_id) if event else None
        return run.tags.get("for") if run else None


def cancelled(deployment: Deployment) -> None:
    """Ask, let jobs begin, cancel the runs that asked, and let the sensor stop the jobs."""
    deployment.bury_the_dead()
    if not deployment.shards:
        deployment.materialize("raw_dataset", tags={"for": deployment.settings["description"]})
        deployment.materialize_shards("prompt_shards", deployment.shards)
    deployment.ask()
    deployment.tick()
    for entry in deployment.ledger.entries.values():
        run = deployment.instance.get_run_by_id(entry.request.run_id)
        if run is not None and run.status is DagsterRunStatus.SUCCESS:
            deployment.instance.report_run_canceled(run)
    while any(state is not None and state.is_open for state in deployment.waiting().values()):
        deployment.tick()
        time.sleep(0.1)


def play(home: str, endpoint_url: str, settings: dict[str, Any], scenario: str, kill: tuple[str, int] | None) -> None:
    """
    The process: play a scenario, and die at the n-th time that an effect is announced, or write down all of them.

    Args:
        scenario: `complete` or `cancelled`.
        kill: Name of a point, and which time it is passed, from 1.
    """
    sys.stdout = sys.stderr = Path(home, "out.log").open("a")  # noqa: SIM115 - until the process ends
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    deployment = Deployment(Path(home), endpoint_url, settings)
    passed = Counter[str]()

    def observe(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith("bedrock_assets."):
            point = point_of(event.removeprefix("bedrock_assets."), *arguments)
            passed[point] += 1
            if kill == (point, passed[point]):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(observe)
    if scenario == "cancelled":
        cancelled(deployment)
    else:
        deployment.complete()
    Path(home, "points.txt").write_text("".join(f"{n}\t{point}\n" for point, n in passed.items()))


def point_of(effect: str, when: str, subject: str) -> str:
    """The name of a point: what varies between runs is put in general terms."""
    for pattern, name in _VARYING:
        subject = re.sub(pattern, name, subject)
    return f"{when} {effect} {subject}"
