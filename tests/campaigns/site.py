"""A deployment whose code server is a process of its own, as in production: it is restarted, its YAML is edited."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import yaml
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._grpc.client import DagsterGrpcClient

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.local.stack import INSTANCE, PATIENCE, environment, free_port, placeholders, store_folder
from bedrock_assets.local.ui import DagsterUI
from bedrock_assets.operations.dagster_checks import run_dagster_checks
from bedrock_assets.storage.store import Store
from tests.campaigns.definitions import RECORDS_PER_SHARD, SETTINGS, spec_of
from tests.soak.site import Site

LOCATION = "campaign"
PATIENCE_S = 420
ASSETS = ("prompt_shards", "batch_outputs", "joined_table")
KEYS = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
ASSET_KEYS = "{ assetNodes { assetKey { path } } }"
MONITORING = "run_monitoring: {enabled: true, poll_interval_seconds: 5, start_timeout_seconds: 60}"


@dataclass
class Deployment(Site):
    """Emulator, code server, web server and daemon; their data in a folder."""

    names: Sequence[str] = ("calls",)
    n_runs: int = 4
    """Run slots."""
    patient: bool = True
    """Whether the daemon is told to wait for a code location that does not load."""
    n_slots: int = 3
    specs: list[dict[str, Any]] = field(default_factory=list)
    servers: list[int] = field(default_factory=list)
    """Process groups of earlier code servers, whose runs may still go on."""

    def prepare(self, n_shards: int) -> None:
        """Inputs, settings, instance and workspace; each pipeline has *n_shards* shards."""
        self.ports["code"] = free_port()
        store_folder(self.home).mkdir(parents=True)
        (self.home / "dagster").mkdir()
        config = yaml.safe_load("\n".join(line for line in INSTANCE.splitlines() if "run_monitoring" not in line))
        config["concurrency"]["runs"]["max_concurrent_runs"] = self.n_runs
        text = yaml.safe_dump(config | yaml.safe_load(MONITORING))
        (self.home / "dagster" / "dagster.yaml").write_text(text)
        server = {"host": "127.0.0.1", "port": self.ports["code"], "location_name": LOCATION}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        for name in self.names:
            pl.DataFrame(source_of(name, n_shards)).write_parquet(self.home / f"{name}.parquet")
        self.specs = [spec_of(name, self.home) for name in self.names]
        self.write()
        with self.instance() as instance:
            instance.event_log_storage.set_concurrency_slots("bedrock_batch", self.n_slots)

    def write(self, text: str | None = None) -> None:
        """Write the pipelines' settings, or *text* in their place, as a person saves a file."""
        (self.home / SETTINGS).write_text(yaml.safe_dump(self.specs) if text is None else text)

    def environment(self) -> dict[str, str]:
        """Variables of all processes."""
        env = {**placeholders()[0], **environment(self.home, self.emulator_url), "CAMPAIGN_FOLDER": str(self.home)}
        return env if self.patient else {name: value for name, value in env.items() if name not in PATIENCE}

    def deploy(self) -> None:
        """Stop the code server, and start it again with what is written now; runs go on, as those of a cluster do."""
        server = self.running.pop("code")
        self.servers.append(server.pid)
        server.kill()
        server.wait()
        self.start_code()

    def edit(self, specs: list[dict[str, Any]]) -> None:
        """Write other pipelines, deploy them, and wait until the web server has their assets."""
        self.specs = specs
        self.write()
        self.deploy()
        self.wait_for_assets()

    def wait_for_assets(self) -> None:
        """Wait until the web server has the assets of the pipelines that are written now, and of no others."""
        wanted = {spec["name"] for spec in self.specs}

        def shown() -> set[str]:
            return {asset["assetKey"]["path"][0] for asset in self.ui.query(ASSET_KEYS)["assetNodes"]}

        self.until(lambda: shown() == wanted)
        self.ui.wait_until_loaded(self.require_alive)

    def told_by_doctor(self) -> list[str]:
        """What `doctor` says of jobs that nobody is about to collect, with the settings that are written now."""
        regions = Regions.only(self.bedrock, Store(str(store_folder(self.home))))
        specs = [PipelineSpec.model_validate(spec) for spec in self.specs]
        with self.instance() as instance:
            results = list(run_dagster_checks(instance, regions, specs))
        return [result.fix for result in results if result.check == "answers to collect" and result.status != "ok"]

    def pause(self, name: str, seconds: float) -> None:
        """Let one of the processes stand still, and then go on."""
        group = os.getpgid(self.running[name].pid)
        os.killpg(group, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.killpg(group, signal.SIGCONT)

    def terminate_run(self, backfill_id: str) -> str:
        """Cancel the run of a backfill as a launcher does that Dagster's daemon tells to; its id."""
        with self.instance() as instance:
            tags = {"dagster/backfill": backfill_id}
            (run,) = instance.get_runs(RunsFilter(tags=tags, statuses=[DagsterRunStatus.STARTED]))
            instance.report_run_canceling(run)
            messages = [entry.message or "" for entry in instance.all_logs(run.run_id)]
            pids = [int(found[1]) for message in messages if (found := re.search(r"pid: (\d+)", message))]
            os.kill(pids[-1], signal.SIGTERM)
            self.until(lambda: self.run_status(run.run_id) == "CANCELED")
        return run.run_id

    def run_status(self, run_id: str) -> str:
        """A run's status."""
        with self.instance() as instance:
            run = instance.get_run_by_id(run_id)
            return run.status.value if run else ""

    def log_of(self, run_id: str) -> str:
        """All messages of a run."""
        with self.instance() as instance:
            return "\n".join(entry.user_message for entry in instance.all_logs(run_id))

    def start_code(self) -> None:
        """Start the code server, and wait until it serves; it also does if the definitions do not load."""
        self.start("code")
        client = DagsterGrpcClient(port=self.ports["code"])
        self.until(lambda: client.health_check_query() == "SERVING")

    @property
    def ui(self) -> DagsterUI:
        """The web server."""
        return DagsterUI(self.ui_url, LOCATION)

    @property
    def bedrock(self) -> Bedrock:
        """The emulator, by boto3."""
        return Bedrock(boto3.client("bedrock", endpoint_url=self.emulator_url, **KEYS), "arn:aws:iam::1:role/x")

    @contextmanager
    def instance(self) -> Generator[DagsterInstance]:
        """Dagster's instance."""
        with DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            yield instance

    def jobs(self, name: str = "calls") -> list[Job]:
        """All jobs of a pipeline, ever."""
        return list(self.bedrock.list(name_contains=f"ba-{name}-"))

    def ingest(self, name: str = "calls") -> list[str]:
        """Materialize `raw_dataset`; the registered shards."""
        run_id = self.ui.materialize([name, "raw_dataset"])
        assert self.ui.wait_for_run(run_id) == "SUCCESS", self.ui.failures(run_id)
        with self.instance() as instance:
            return list(instance.get_dynamic_partitions(f"{name}_shards"))

    def launch(self, shards: Sequence[str], name: str = "calls", assets: Sequence[str] = ASSETS) -> str:
        """Launch a backfill as the UI does; its id."""
        config = {"ops": {f"{name}__batch_outputs": {"config": {"poll_s": 1.0, "queued_s": 10.0}}}}
        return self.ui.backfill([[name, asset] for asset in assets], shards, config)

    def status(self, backfill_id: str) -> str:
        """A backfill's status."""
        return self.ui.backfill_status(backfill_id)[0]

    def end_of(self, backfill_id: str) -> str:
        """The status with which a backfill ends."""
        self.until(lambda: self.status(backfill_id) not in ("REQUESTED", "CANCELING", "FAILING"))
        return self.status(backfill_id)

    def materialized(self, asset: str, name: str = "calls") -> int:
        """How often an asset was materialized, as the log has it."""
        with self.instance() as instance:
            return len(instance.fetch_materializations(AssetKey([name, asset]), limit=1000).records)

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Raises:
            AssertionError: It does not become true in time, or a process has ended of itself.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.require_alive()
            assert time.monotonic() < deadline, "waited too long; see the logs of the processes"
            time.sleep(0.5)

    def judge(self, n_shards: int, name: str = "calls", models: Sequence[str] = ()) -> None:
        """
        Count rows, jobs and pairings, from the files and from Bedrock alone.

        Raises:
            AssertionError: A row is lost, repeated or has another's answer; a job was paid twice or stopped.
        """
        table = pl.read_parquet(store_folder(self.home) / name / "table" / "*.parquet")
        source = pl.DataFrame(source_of(name, n_shards))
        assert table.select("id", "text").equals(source)
        assert table["status"].to_list() == ["ok"] * len(source)
        # The emulator's summary is the sentence that it was given, and each sentence names its row.
        pairs = zip(table["text"], table["response"], strict=True)
        assert all(text in response for text, response in pairs)
        jobs = self.jobs(name)
        assert len({job.name for job in jobs}) == len(jobs) == n_shards
        assert {job.status.value for job in jobs} == {"Completed"}
        assert set(table["model_id"]) == set(models or [spec_of(name, self.home)["model"]])

    def start(self, name: str) -> None:
        """Start one of the processes in a process group of its own."""
        self.launch_process(name, self.environment())

    def _command(self, name: str) -> Sequence[str]:
        if name == "code":
            where = ["-h", "127.0.0.1", "-p", str(self.ports["code"])]
            module = ["-m", "tests.campaigns.definitions", "--location-name", LOCATION]
            return [sys.executable, "-m", "dagster", "api", "grpc", *module, *where, "--lazy-load-user-code"]
        return super()._command(name)


def source_of(pipeline: str, n_shards: int) -> list[dict[str, str]]:
    """The rows of a pipeline's input; each text names its row."""
    return [
        {"id": f"{pipeline}-{i}", "text": f"Call {i} to {pipeline} was about invoice {i}, and it was found."}
        for i in range(n_shards * RECORDS_PER_SHARD)
    ]


@contextmanager
def deployed(
    home: Path,
    n_shards: int,
    speed: float = 30,
    edit: Callable[[Deployment], None] = lambda _made: None,
    **settings: Any,
) -> Generator[Deployment]:
    """
    A running deployment for the length of the block.

    Args:
        edit: Changes the settings before anything starts.
    """
    made = Deployment(home, speed, **settings)
    made.prepare(n_shards)
    edit(made)
    try:
        made.start("emulator")
        made.start_code()
        for name in ("webserver", "daemon"):
            made.start(name)
        made.ui.wait_until_loaded(made.require_alive)
        yield made
    finally:
        for name in list(made.running):
            made.kill(name)
        for group in made.servers:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
