"""A pipeline, a real Dagster instance and the emulator over HTTP in one process: ticks and runs by hand, no daemon."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from bedrock_assets.assets.pipeline import build_assets, require_raw
from bedrock_assets.aws.job import Job
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.regions import Regions
from bedrock_assets.aws.sessions import open_session
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.emulator import Emulator, Faults
from bedrock_assets.jobs.collect_runs import CollectRuns
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.event_log import DATA_VERSION_TAG
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.partitions import planned_shards, register_shards
from bedrock_assets.limits import JobLimits
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.regions import RegionConfig
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.shards.answer_cache import read_prompt_index
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.store import Store
from tests.labs.instances import open_instance

KEYS: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
ENDPOINTS = ("endpoint_url", "runtime_endpoint_url")
ENDED_S = 60
STEP_S = 5


@dataclass
class Lab:
    """What a test needs to drive one pipeline."""

    pipeline: Pipeline
    instance: dg.DagsterInstance
    emulator: Emulator
    store_resource: StoreResource
    bedrock: Bedrock
    stepped: bool = False
    """Whether the emulator's jobs go on only while the test waits."""
    ledger: Ledger = field(default_factory=lambda: Ledger("calls"))
    seen_run_keys: set[str] = field(default_factory=set)
    secret: str = "local"
    """The secret access key that runs are given."""
    settings: dict[str, Any] = field(default_factory=dict)
    """More that runs are told of Bedrock."""
    later: timedelta = timedelta()
    """How far the sensor's clock is ahead."""
    regions: list[RegionConfig] = field(default_factory=list)
    """Where jobs run beside us-east-1."""
    _opened: Regions | None = None
    _opened_for: list[RegionConfig] = field(default_factory=list)
    _jobs: dict[str, tuple[Pipeline, str, dg.JobDefinition]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """Where the data is."""
        return self.store_resource.open()

    @property
    def bedrock_resource(self) -> BedrockResource:
        """What runs are given."""
        return BedrockResource(**self._bedrock_settings)

    @property
    def _bedrock_settings(self) -> dict[str, Any]:
        keys = {**KEYS, "aws_secret_access_key": self.secret}
        places = dict.fromkeys(ENDPOINTS, self.emulator.endpoint_url)
        return {"role_arn": ROLE, **keys, **places, "max_attempts": 2, "regions": self.regions, **self.settings}

    @property
    def opened(self) -> Regions:
        """All places, opened once as long as they stay the same: to make clients takes a while."""
        if self.regions != self._opened_for or self._opened is None:
            self._opened, self._opened_for = self.bedrock_resource.open(self.store), list(self.regions)
        return self._opened

    @property
    def shards(self) -> list[str]:
        """Registered partition keys."""
        return list(self.instance.get_dynamic_partitions("calls_shards"))

    @property
    def span(self) -> dict[str, str]:
        """Tags of a run of all shards."""
        return {RANGE_START_TAG: self.shards[0], RANGE_END_TAG: self.shards[-1]}

    @property
    def states(self) -> dict[str, RequestState]:
        """What the event log says of each shard."""
        self.ledger.refresh(self.instance)
        return {shard: entry.state for shard, entry in self.ledger.entries.items()}

    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return sorted(self.opened.list() if self.regions else self.bedrock.list(), key=lambda job: job.submitted_at)

    def materialize(
        self,
        asset: str,
        partition: str | None = None,
        tags: dict[str, str] | None = None,
        *,
        retry_errors: bool = False,
    ) -> bool:
        """Run one asset, as Dagster would; whether the run succeeded."""
        config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
        if asset == "batch_outputs":
            asked = {"config": {"wait": False, "retry_errors": retry_errors}}
            config["ops"] = {self.pipeline.spec.op_of("batch_outputs"): asked}
        return (
            self.job(asset)
            .execute_in_process(config, self.instance, partition, raise_on_error=False, tags=tags)
            .success
        )

    def job(self, asset: str) -> dg.JobDefinition:
        """The job of one asset, resolved anew only when what it is made of has changed."""
        pipeline, settings = self.pipeline, repr((self.store_resource, self._bedrock_settings))
        kept = self._jobs.get(asset)
        if kept is None or kept[0] is not pipeline or kept[1] != settings:
            name = f"only_{asset}"
            defs = dg.Definitions(
                build_assets(pipeline),
                jobs=[dg.define_asset_job(name, selection=[dg.AssetKey(pipeline.spec.key_of(asset))])],
                resources={"bedrock_batch_store": self.store_resource, "bedrock_batch": self.bedrock_resource},
            )
            kept = self._jobs[asset] = pipeline, settings, defs.resolve_job_def(name)
        return kept[2]

    def ask_in_runs(self) -> None:
        """Format all shards and ask for their answers, each in one run: where these are the point."""
        assert self.materialize("raw_dataset")
        for asset in ("prompt_shards", "batch_outputs"):
            assert self.materialize(asset, tags=self.span)

    def ask(self) -> None:
        """The same, with runs only where answers are asked for."""
        self.ingest()
        self.format()
        assert self.materialize("batch_outputs", tags=self.span)

    def ingest(self) -> None:
        """Leave what the sensor and later runs read of a run of `raw_dataset`, by its stage: a third of its time."""
        spec, raw = self.pipeline.spec, ingest(self.pipeline, self.store)
        register_shards(self.instance, spec.name, [shard.key for shard in raw.shards])
        facts = {"revision": raw.revision, "n_shards": len(raw.shards)}
        key, version = dg.AssetKey(spec.key_of("raw_dataset")), {DATA_VERSION_TAG: raw.revision}
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=facts, tags=version))

    def format(self, *shards: str) -> None:
        """The same for `prompt_shards`: some, or all."""
        store, key = self.store, dg.AssetKey(self.pipeline.spec.key_of("prompt_shards"))
        raw, index = require_raw(store, self.pipeline), read_prompt_index(store, self.pipeline)
        for shard in planned_shards(raw.shards, shards or self.shards):
            made = format_shard(self.pipeline, store, raw, shard, index)
            told = {"fingerprint": made.fingerprint, "raw_revision": made.raw_revision}
            told["configuration"] = json.dumps(made.configuration)
            self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=shard.key, metadata=told))

    def tick_only(self, bedrock: Bedrock | None = None) -> Tick:
        """One tick of the sensor, without the runs that it asks for."""
        self.ledger.refresh(self.instance)
        collect_runs = CollectRuns(self.instance, datetime.now(UTC) + self.later)
        regions = self.opened if bedrock is None and self.regions else Regions.only(bedrock or self.bedrock, self.store)
        pipelines, ledgers = {"calls": self.pipeline.workload}, {"calls": self.ledger}
        tick = Tick(self.instance, pipelines, ledgers, regions, collect_runs)
        tick.run()
        return tick

    def tick(self, bedrock: Bedrock | None = None) -> Tick:
        """One tick of the sensor, and the runs it asks for, each run key once."""
        tick = self.tick_only(bedrock)
        for request in tick.collect_runs.run_requests:
            assert request.run_key is not None
            if request.run_key not in self.seen_run_keys:
                self.seen_run_keys.add(request.run_key)
                self.materialize("batch_outputs", request.partition_key, dict(request.tags))
        return tick

    @property
    def n_invoked(self) -> int:
        """Records answered on demand so far; one that was paid twice counts twice."""
        return sum(model.answered for model in self.emulator.invocations())

    def change_prompt(self, prompt: str) -> None:
        """Edit the pipeline's prompt, as a person does in its YAML."""
        changed = self.pipeline.spec.model_dump()
        changed["task"]["text"]["prompt"] = prompt
        self.pipeline = Pipeline(PipelineSpec.model_validate(changed), self.pipeline.folder)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, or fail. A stepped clock goes on here and nowhere else."""
        deadline = time.monotonic() + ENDED_S
        while not condition():
            assert time.monotonic() < deadline
            if self.stepped:
                self.emulator.advance(STEP_S)
            else:
                time.sleep(0.03)

    def wait_for_jobs(self) -> list[Job]:
        """Wait until no job is in flight."""
        self.until(lambda: not any(job.status.in_flight for job in self.jobs()))
        return self.jobs()

    def finish(self) -> dict[str, RequestState]:
        """Tick until nothing is open."""
        deadline = time.monotonic() + ENDED_S
        while any(state.is_open for state in self.states.values()):
            assert time.monotonic() < deadline
            self.tick()
            self.wait_for_jobs()
        return self.states

    def outputs(self, shard: str) -> pl.DataFrame:
        """A shard's answers."""
        return self.store.scan_parquet([f"calls/outputs/{shard}.parquet"]).collect()


def pipeline_of(folder: Path, *, max_jobs: int = 2, **spec: object) -> Pipeline:
    """Pipeline `calls` over the lab's file; keywords replace parts of the spec."""
    settings = {
        "name": "calls",
        "source": {"path": str(folder / "calls.parquet"), "id_column": "id"},
        "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "task": {"text": {"prompt": "Summarise: {transcript}", "max_tokens": 64}},
        "limits": {"max_records_per_job": 10, "min_records_per_job": 2, "max_jobs": max_jobs},
        "preflight": False,  # tests count calls on demand, and inject faults that strike every record
        **spec,
    }
    return Pipeline(PipelineSpec.model_validate(settings), folder)


@contextmanager
def open_lab(  # noqa: PLR0913 - each has its default, and is given by its name
    folder: Path,
    *,
    n_rows: int = 40,
    max_jobs: int = 2,
    speed: float | None = 5000,
    faults: Faults | None = None,
    quota: int = 20,
    store: StoreResource | None = None,
    regions: Sequence[RegionConfig] = (),
    on_disk: bool = False,
    **spec: object,
) -> Generator[Lab]:
    """
    A lab with *n_rows* rows in shards of 10, and an emulator whose jobs take a fraction of a second.

    Without *speed* they go on only while the test waits, so that one is in flight as long as the test needs it to be.
    The instance keeps its events in memory, a fifth of the time of files; *on_disk* other threads and
    processes see them, too.
    """
    texts = [f"Call {i}: the customer asked about invoice {i}. The agent found it." for i in range(n_rows)]
    pl.DataFrame({"id": [f"c{i}" for i in range(n_rows)], "transcript": texts}).write_parquet(folder / "calls.parquet")
    (folder / "s3" / "bucket").mkdir(parents=True)
    buckets = "s3://" if store else str(folder / "s3")
    limits = JobLimits(min_records_per_job=2, max_jobs=quota)
    clock: dict[str, Any] = {"stepped": True} if speed is None else {"speed": speed}
    emulator = Emulator(
        buckets, folder / "jobs.sqlite", limits=limits, any_model=True, faults=faults or Faults(), **clock
    )
    with emulator, open_instance(folder / "dagster", on_disk=on_disk) as instance:
        client: Any = open_session(**KEYS).client("bedrock", endpoint_url=emulator.endpoint_url)
        yield Lab(
            pipeline_of(folder, max_jobs=max_jobs, **spec),
            instance,
            emulator,
            store or StoreResource(url=str(folder / "s3" / "bucket")),
            Bedrock(client, ROLE),
            stepped=speed is None,
            regions=[region.model_copy(update=dict.fromkeys(ENDPOINTS, emulator.endpoint_url)) for region in regions],
        )
