"""
Shards of one pipeline between two Regions, in any order of events and accidents: no content is paid twice.

Tick, observed jobs, ledger and Dagster's event log are the real ones. Only Bedrock is played: each Region lists a new
job some looks late, loses answers, refuses, or cannot be asked at all.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, cast

import dagster as dg
import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.model_invocation_jobs import Bedrock, NewJob
from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.errors import BedrockUnavailable
from bedrock_assets.jobs.collect_runs import JOB_TAG, CollectRuns
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.storage.store import Store
from tests.labs.dispatch import pipeline_of
from tests.labs.instances import in_memory

HAIKU, ACCOUNT = "anthropic.claude-haiku-4-5-20251001-v1:0", "123456789012"
REGIONS = ("us-east-1", "us-west-2")
SHARDS = [f"{i:05d}-of-00004" for i in range(4)]
MAX_JOBS, MOST_LAG = 2, 2
MOMENTS = {"lost", "refused", "died", "adopted", "dark", "stopped by hand", "left alone", "asked again", "both at work"}
"""What the campaigns must come upon, or they prove nothing of it."""


class Died(BaseException):
    """The process is killed."""


@dataclass
class FakeRegion:
    """Bedrock in one Region, as `Bedrock` speaks of it."""

    name: str
    lag: int
    role_arn: str = f"arn:aws:iam::{ACCOUNT}:role/x"
    jobs: dict[str, Job] = field(default_factory=dict)
    unreachable: dict[str, int] = field(default_factory=dict)
    """Looks until a new job is listed, by name."""
    dark: bool = False
    fault: str = ""
    """What befalls the next Create."""
    n_adopted: int = 0

    def list(self, *, since: datetime | None = None, name_contains: str | None = None) -> Iterator[Job]:
        """Jobs that are listed by now."""
        self._require_light()
        if since is not None:
            self.unreachable = {name: left - 1 for name, left in self.unreachable.items() if left > 1}
        seen = [job for name, job in self.jobs.items() if name not in self.unreachable]
        return iter([job for job in seen if (name_contains or "") in job.name])

    def get(self, arn: str) -> Job:
        """One that is noted is there at once."""
        self._require_light()
        return next(job for job in self.jobs.values() if job.arn == arn)

    def page_of(self, arn: str) -> str:
        """Where people would look at a job."""
        return f"https://example.com/{arn.rpartition('/')[2]}"

    def stop(self, arn: str) -> None:
        """Stopped at once."""
        job = self.get(arn)
        if job.status.in_flight:
            self.jobs[job.name] = replace(job, status=JobStatus.STOPPED)

    def create(self, new: NewJob) -> str:
        """A name that is there comes back with its job."""
        self._require_light()
        fault, self.fault = self.fault, ""
        if fault == "refused":
            raise BedrockUnavailable("ServiceQuotaExceededException")
        self.n_adopted += new.name in self.jobs
        if new.name not in self.jobs:
            arn = f"arn:aws:bedrock:{self.name}:{ACCOUNT}:model-invocation-job/{len(self.jobs)}"
            self.jobs[new.name] = Job(arn, new.name, JobStatus.IN_PROGRESS, new.model, datetime.now(UTC))
            self.unreachable |= {new.name: self.lag} if self.lag else {}
        if fault == "lost":
            raise BedrockUnavailable("the answer was lost")
        if fault == "died":
            raise Died
        return self.jobs[new.name].arn

    def _require_light(self) -> None:
        if self.dark:
            raise BedrockUnavailable(f"{self.name} cannot be reached")

    @property
    def n_in_flight(self) -> int:
        """Jobs that take a slot."""
        return sum(job.status.in_flight for job in self.jobs.values())


class TwoRegions(RuleBasedStateMachine):
    """One pipeline, and all that may happen to its shards."""

    seen: ClassVar[Counter[str]] = Counter()
    n_unlucky: ClassVar[int] = 0

    @initialize(lag=st.integers(0, MOST_LAG), fault=st.sampled_from(["", "lost", "refused", "died"]))
    def start(self, lag: int, fault: str) -> None:
        """All shards are asked for, and the first tick may be unlucky."""
        self.folder = Path(tempfile.mkdtemp())
        pl.DataFrame({"id": ["a"], "transcript": ["x"]}).write_parquet(self.folder / "calls.parquet")
        models = [{"model": HAIKU, "region": name, "max_jobs": MAX_JOBS} for name in REGIONS]
        self.pipeline = pipeline_of(self.folder, model=models)
        self.opened = ExitStack()
        self.instance = self.opened.enter_context(in_memory())
        self.instance.add_dynamic_partitions("calls_shards", SHARDS)
        self.fakes = [FakeRegion(name, lag) for name in REGIONS]
        regions = [Region(r.name, ACCOUNT, lambda r=r: cast(Bedrock, r)) for r in self.fakes]
        self.regions = Regions(Store(str(self.folder / "bucket")), tuple(regions))
        self.lag = lag
        self.restart()
        self.somebody_launches(set(SHARDS))
        if fault:
            self.tick(fault)
            self.tick("")

    @rule()
    def restart(self) -> None:
        """A new process reads the log from its beginning."""
        self.ledger = Ledger("calls")
        self.ledger.refresh(self.instance)

    @rule(shards=st.sets(st.sampled_from(SHARDS), min_size=1))
    def somebody_launches(self, shards: set[str]) -> None:
        """As a launched run does: what failed or was withdrawn after it was sent is a new attempt."""
        self.ledger.refresh(self.instance)
        for shard in sorted(shards):
            former = self.ledger.entries.get(shard)
            request = Request("calls", shard, "f" * 16, 1, f"calls/prompts/{shard}/f.jsonl", 10, "run")
            if former is not None:
                self.seen["asked again"] += 1
                request = former.request
                if former.state in (RequestState.FAILED, RequestState.WITHDRAWN) and former.job_arn:
                    jobs = (*request.former_jobs, former.job_arn)
                    request = replace(request, attempt=request.attempt + 1, former_jobs=jobs, where="")
                elif former.state is RequestState.FAILED:
                    request = replace(request, where="")
            self._log(request, RequestState.REQUESTED)

    @rule()
    def quiet_tick(self) -> None:
        """A tick in which Create does what it should."""
        self.tick("")

    @rule()
    def unlucky_tick(self) -> None:
        """A tick whose first Create fails in one of three ways, each in its turn, and the tick after it."""
        TwoRegions.n_unlucky += 1
        self.tick(("lost", "refused", "died")[self.n_unlucky % 3])
        self.tick("")

    def tick(self, fault: str) -> None:
        """One tick, and what befalls the first Create of each Region; a run that it asks for brings the answers."""
        for region in self.fakes:
            region.fault = fault
        self.ledger.refresh(self.instance)
        collect_runs = CollectRuns(self.instance)
        made = Tick(
            self.instance, {"calls": self.pipeline.workload}, {"calls": self.ledger}, self.regions, collect_runs
        )
        try:
            made.run()
        except BedrockUnavailable:
            assert all(region.dark for region in self.fakes)
        except Died:
            self.restart()
        self.seen[fault] += bool(fault) and not all(region.fault for region in self.fakes)
        for region in self.fakes:
            region.fault = ""
        self.seen["left alone"] += any("is left alone" in note for note in made.notes)
        self.seen["both at work"] += all(region.n_in_flight for region in self.fakes)
        for asked in collect_runs.run_requests:
            self._answer(str(asked.partition_key), asked.tags[JOB_TAG])

    @rule(where=st.integers(0, 1), dark=st.booleans())
    def a_region_goes_dark(self, where: int, dark: bool) -> None:
        """It cannot be asked, or can again."""
        self.fakes[where].dark = dark
        self.seen["dark"] += dark

    @rule(where=st.integers(0, 1), status=st.sampled_from([JobStatus.COMPLETED, JobStatus.FAILED]))
    def jobs_end(self, where: int, status: JobStatus) -> None:
        """All jobs of a Region end."""
        jobs = self.fakes[where].jobs
        jobs |= {name: replace(job, status=status) for name, job in jobs.items() if job.status.in_flight}

    @rule(shard=st.sampled_from(SHARDS))
    def somebody_stops_by_hand(self, shard: str) -> None:
        """A shard is withdrawn while nobody knows of its job."""
        self.ledger.refresh(self.instance)
        entry = self.ledger.entries.get(shard)
        if entry and entry.state.is_open and not entry.job_arn:
            self.seen["stopped by hand"] += 1
            self._log(entry.request, RequestState.WITHDRAWN)

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        """Of a content, which names its job, there is a job in one Region at most."""
        if hasattr(self, "regions"):
            assert not self.fakes[0].jobs.keys() & self.fakes[1].jobs.keys()

    @invariant()
    def the_cap_holds(self) -> None:
        """Where every job is listed at once, each Region has no more in flight than its pool allows."""
        if hasattr(self, "regions") and not self.lag:
            assert all(region.n_in_flight <= MAX_JOBS for region in self.fakes)

    def teardown(self) -> None:
        """With the accidents over, every shard that is open is answered, or failed by its job, in time."""
        if not hasattr(self, "regions"):
            return
        for _ in range(4 * len(SHARDS) + MOST_LAG):
            for where, region in enumerate(self.fakes):
                region.dark = False
                self.jobs_end(where, JobStatus.COMPLETED)
            self.tick("")
        self.ledger.refresh(self.instance)
        assert not self.ledger.open_entries
        self.seen["adopted"] += any(region.n_adopted for region in self.fakes)
        self.opened.close()
        shutil.rmtree(self.folder)

    def _answer(self, shard: str, arn: str) -> None:
        """What a collect run does at its end."""
        self.ledger.refresh(self.instance)
        entry = self.ledger.entries[shard]
        if not entry.state.is_open:
            return
        request, job = entry.request, self.regions.of(arn).bedrock
        status = next(one for one in cast(Any, job).jobs.values() if one.arn == arn).status
        if status is JobStatus.COMPLETED:
            facts = {"fingerprint": request.fingerprint, "attempt": request.attempt, "request_id": request.storage_id}
            event = dg.AssetMaterialization(self.ledger.asset_key, partition=shard, metadata=facts)
            self.instance.report_runless_asset_event(event)
        else:
            self._log(request, RequestState.FAILED, job_arn=arn)

    def _log(self, request: Request, state: RequestState, **facts: str) -> None:
        self.ledger.log(self.instance.report_runless_asset_event, request, state, **facts)


@pytest.mark.slow
def test_any_campaign_between_two_regions() -> None:
    """In any order of events and accidents nothing is paid twice, and all comes to an end."""
    TwoRegions.seen.clear()
    TwoRegions.n_unlucky = 0
    some = settings(
        max_examples=60,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(TwoRegions, settings=some)
    assert {moment for moment in MOMENTS if not TwoRegions.seen[moment]} == set()
