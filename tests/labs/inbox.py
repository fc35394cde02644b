"""An inbox with its real sensors, a real Dagster instance and the emulator over HTTP: ticks and runs by hand."""

import json
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import polars as pl

from bedrock_assets.assets.inbox import build_inbox_assets, build_inbox_checks
from bedrock_assets.aws.job import Job
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.sessions import open_session
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.emulator import Emulator, Faults
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.inbox.rejections import Rejections
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.limits import JobLimits
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.job_events import EventsResource
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.sensors.inbox import build_inbox_sensor
from bedrock_assets.sensors.jobs import build_sensors
from bedrock_assets.storage.store import Store
from tests.labs.dispatch import ENDED_S, KEYS, ROLE, STEP_S
from tests.labs.instances import open_instance
from tests.labs.stages import HAIKU

INBOX = "mail"

LONG_AGO = 1_700_000_000


def record(number: int, text: str = "invoice") -> dict[str, Any]:
    """A ready-made record for Claude."""
    said = f"Call {number} was about {text} {number}. It was found."
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64}
    return {"recordId": f"r{number}", "modelInput": {**body, "messages": [{"role": "user", "content": said}]}}


def lines(n: int, text: str = "invoice") -> bytes:
    """A file of *n* records; another *text* makes it another file."""
    return "".join(json.dumps(record(i, text)) + "\n" for i in range(n)).encode()


@dataclass
class Lab:
    """What a test needs to drive one inbox."""

    inbox: Inbox
    instance: dg.DagsterInstance
    emulator: Emulator
    store_resource: StoreResource
    bedrock: Bedrock
    stepped: bool
    cursors: dict[str, str | None] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """By sensor, why its last tick launched nothing."""
    seen_run_keys: set[str] = field(default_factory=set)
    sensors: Sequence[dg.SensorDefinition] = ()
    interval_s: int = 30
    queue_url: str | None = None
    """Of the queue of events, if there is one; the environment tells where SQS is."""
    later: timedelta = timedelta()
    """How far the clock of the folder's sensor is ahead."""

    _resources: tuple[str | None, dict[str, Any]] | None = None
    _jobs: dict[str, tuple[tuple[Inbox, dict[str, Any]], dg.JobDefinition]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The code location is loaded anew: what its sensors had in memory is gone."""
        dispatcher, _ = build_sensors([], self.interval_s, [self.inbox], has_queue=self.queue_url is not None)
        self.sensors = [dispatcher, build_inbox_sensor(self.inbox, 30, lambda: datetime.now(UTC) + self.later)]

    @property
    def store(self) -> Store:
        """Where the data is."""
        return self.store_resource.open()

    @property
    def folder(self) -> Path:
        """Where files are dropped."""
        return Path(self.store.root) / self.inbox.spec.dropped_to

    def drop(self, name: str, content: bytes, *, age_s: float | None = None) -> Path:
        """Drop a file that was written long ago, or so many seconds."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        at = LONG_AGO if age_s is None else time.time() - age_s
        os.utime(path, (at, at))
        return path

    @property
    def left(self) -> list[str]:
        """Names of what lies in the folder."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    @property
    def states(self) -> dict[str, RequestState]:
        """What the event log says of each file."""
        ledger = Ledger(INBOX)
        ledger.refresh(self.instance)
        return {key: entry.state for key, entry in ledger.entries.items()}

    @property
    def rejections(self) -> dict[str, str]:
        """By name, why a file was refused last, as the event log tells it."""
        found = Rejections(INBOX)
        found.refresh(self.instance)
        return {name: reason for name, (_, reason) in found.etags.items()}

    @property
    def n_refusals(self) -> int:
        """Observations of refused files."""
        return len(self.instance.fetch_observations(dg.AssetKey([INBOX, "dropped_files"]), limit=1000).records)

    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return sorted(self.bedrock.list(), key=lambda job: job.submitted_at)

    def look(self) -> list[dg.RunRequest]:
        """A tick of the folder's sensor; the runs it asks for are not launched."""
        return self._evaluate(f"{INBOX}_files_sensor")

    def tick(self) -> None:
        """A tick of each sensor, and the runs that they ask for, each run key once."""
        for sensor in self.sensors:
            self.launch(self._evaluate(sensor.name))

    def launch(self, asked: Sequence[dg.RunRequest]) -> None:
        """Run what a sensor asks for."""
        for request in asked:
            if request.run_key not in self.seen_run_keys:
                self.seen_run_keys.add(str(request.run_key))
                self.run(
                    "dropped_files" if request.run_config else "batch_outputs",
                    request.partition_key,
                    request.tags,
                    cast("Mapping[str, Any]", request.run_config),
                )

    def run(
        self,
        asset: str,
        partition: str | None = None,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> bool:
        """Run one asset with its checks, as Dagster would; whether the run succeeded."""
        no_wait = {"ops": {f"{INBOX}__batch_outputs": {"config": {"wait": False}}}}
        told = config or (no_wait if asset == "batch_outputs" else {})
        quiet = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
        job, tags = self._job(asset), dict(tags or {})
        return job.execute_in_process(
            {**told, **quiet}, self.instance, partition, raise_on_error=False, tags=tags
        ).success

    def _job(self, asset: str) -> dg.JobDefinition:
        """The job of one asset, resolved anew only when what it is made of has changed."""
        made_of, kept = (self.inbox, self.resources), self._jobs.get(asset)
        if kept is None or any(old is not new for old, new in zip(kept[0], made_of, strict=True)):
            name = f"only_{asset}"
            defs = dg.Definitions(
                [*build_inbox_assets(self.inbox), *build_inbox_checks(self.inbox)],
                jobs=[dg.define_asset_job(name, selection=dg.AssetSelection.assets([INBOX, asset]))],
                resources=self.resources,
            )
            kept = self._jobs[asset] = made_of, defs.resolve_job_def(name)
        return kept[1]

    @property
    def resources(self) -> dict[str, Any]:
        """The store and the emulator, made anew only when there is another queue of events."""
        if self._resources is None or self._resources[0] != self.queue_url:
            self._resources = self.queue_url, self._make_resources()
        return self._resources[1]

    def _make_resources(self) -> dict[str, Any]:
        url = self.emulator.endpoint_url
        endpoints = {"endpoint_url": url, "runtime_endpoint_url": url, "max_attempts": 2}
        events = EventsResource(queue_url=self.queue_url, region_name="us-east-1")
        bedrock = BedrockResource(role_arn=ROLE, **endpoints, **KEYS)
        return {"bedrock_batch_store": self.store_resource, "bedrock_batch": bedrock, "bedrock_batch_events": events}

    def pass_time(self, seconds: float) -> None:
        """Put the clock of the folder's sensor on."""
        self.later += timedelta(seconds=seconds)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, or fail. A stepped clock goes on here and nowhere else."""
        deadline = time.monotonic() + ENDED_S
        while not condition():
            assert time.monotonic() < deadline
            if self.stepped:
                self.emulator.advance(STEP_S)
            else:
                time.sleep(0.03)

    def finish(self) -> dict[str, RequestState]:
        """Tick until the folder has settled and nothing is open."""
        for _ in range(3):
            self.tick()
        deadline = time.monotonic() + ENDED_S
        while any(state.is_open for state in self.states.values()):
            assert time.monotonic() < deadline, self.skipped
            self.until(lambda: not any(job.status.in_flight for job in self.jobs()))
            self.tick()
        return self.states

    def answers(self, key: str) -> pl.DataFrame:
        """A file's answers."""
        return self.store.scan_parquet([f"{self.inbox.folder(key)}/{key}.parquet"]).collect()

    def _evaluate(self, name: str) -> list[dg.RunRequest]:
        (sensor,) = [sensor for sensor in self.sensors if sensor.name == name]
        context = dg.build_sensor_context(self.instance, self.cursors.get(name), resources=self.resources)
        told = sensor(context)
        if isinstance(told, dg.SkipReason):
            self.skipped[name] = told.skip_message or ""
            return []
        assert isinstance(told, dg.SensorResult)
        self.cursors[name] = told.cursor or self.cursors.get(name)
        self.skipped[name] = (told.skip_reason and told.skip_reason.skip_message) or ""
        return list(told.run_requests or ())


def inbox_of(**spec: object) -> Inbox:
    """The lab's inbox; keywords replace parts of the spec."""
    limits = {"max_records_per_job": 50, "min_records_per_job": 2, "max_jobs": 2}
    settings = {"name": INBOX, "model": HAIKU, "limits": limits, "settle_s": 0, **spec}
    return Inbox(InboxSpec.model_validate(settings))


@contextmanager
def open_lab(
    folder: Path,
    *,
    speed: float | None = 5000,
    faults: Faults | None = None,
    store: StoreResource | None = None,
    on_disk: bool = False,
    **spec: object,
) -> Generator[Lab]:
    """
    A lab whose jobs take a fraction of a second, or without *speed* go on only while the test waits.

    *on_disk* other threads and processes see the instance, too.
    """
    (folder / "s3" / "bucket").mkdir(parents=True)
    limits, clock = (
        JobLimits(min_records_per_job=2, max_jobs=20),
        {"stepped": True} if speed is None else {"speed": speed},
    )
    emulator = Emulator(
        "s3://" if store else str(folder / "s3"),
        folder / "jobs.sqlite",
        limits=limits,
        faults=faults or Faults(),
        any_model=True,
        **cast("dict[str, Any]", clock),
    )
    with emulator, open_instance(folder / "dagster", on_disk=on_disk) as instance:
        client: Any = open_session(**KEYS).client("bedrock", endpoint_url=emulator.endpoint_url)
        yield Lab(
            inbox_of(**spec),
            instance,
            emulator,
            store or StoreResource(url=str(folder / "s3" / "bucket")),
            Bedrock(client, ROLE),
            stepped=speed is None,
        )
