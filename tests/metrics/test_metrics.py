"""The endpoint for Prometheus tells what is so, costs little, and lives on when a source cannot be read."""

import json
import time
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.emulator import Faults
from bedrock_assets.metrics.collector import DeploymentCollector
from bedrock_assets.metrics.gauges import PREFIX
from bedrock_assets.metrics.server import registry_of
from tests.labs.dispatch import Lab, open_lab
from tests.labs.inbox import INBOX, lines
from tests.labs.inbox import open_lab as open_inbox
from tests.labs.stages import HAIKU

FAULTY = Faults(record_error_rate=0.4, seed=7)
WHO = {"pipeline": "calls", "model": HAIKU}
PATIENCE_S = 60
"""A busy machine decides nothing."""
Samples = dict[str, float]


def sample(name: str, /, **labels: str) -> str:
    """The key of a sample."""
    return f"{PREFIX}{name}{json.dumps(labels, sort_keys=True)}"


def parsed(text: str) -> Samples:
    """The samples of an exposition; each stands once, and its family has a help text."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for one in family.samples:
            key = f"{one.name}{json.dumps(one.labels, sort_keys=True)}"
            assert key not in found
            found[key] = one.value
    return found


def deployment_of(lab: Lab, *more: Any, hold_s: float = 0) -> tuple[DeploymentCollector, list[str]]:
    """A collector over the lab, and what it tells."""
    told: list[str] = []
    specs = [lab.pipeline.spec, *more]
    return DeploymentCollector(
        specs, lab.instance, Regions.only(lab.bedrock, lab.store), hold_s, told.append, PATIENCE_S
    ), told


def scrape(deployment: DeploymentCollector) -> Samples:
    """One scrape."""
    return parsed(generate_latest(registry_of(deployment)).decode())


def counted(samples: Samples, name: str, **labels: str) -> dict[str, float]:
    """Samples of a family by the value of the label that is not named, without those that are 0."""
    found: dict[str, float] = {}
    for key, value in samples.items():
        if key.startswith(f"{PREFIX}{name}{{") and value:
            own = json.loads(key.removeprefix(PREFIX + name))
            if labels.items() <= own.items():
                (rest,) = own.keys() - labels.keys()
                found[own[rest]] = value
    return found


def test_from_the_first_shard_to_the_last(tmp_path: Path) -> None:
    """Shards, records, jobs, slots, rows, tokens and cost are told as they are at each stage."""
    with open_lab(tmp_path, on_disk=True, n_rows=40, max_jobs=2, speed=None, budget_usd=5) as lab:
        deployment, _ = deployment_of(lab)
        assert counted(scrape(deployment), "shards", pipeline="calls") == {}
        lab.ingest()
        assert counted(scrape(deployment), "shards", pipeline="calls") == {"not_asked": 4}
        lab.ask()
        lab.tick()
        found = scrape(deployment)
        assert counted(found, "shards", pipeline="calls") == {"requested": 2, "submitted": 2}
        assert counted(found, "records", pipeline="calls") == {"requested": 20, "submitted": 20}
        assert counted(found, "jobs", **WHO) == {"Submitted": 2}
        assert (found[sample("pool_slots", pool="bedrock_batch")], counted(found, "pool_slots_taken")) == (
            2,
            {"bedrock_batch": 2},
        )
        assert all(0 < age < 60 for age in counted(found, "oldest_shard_age_seconds", pipeline="calls").values())
        assert len(counted(found, "oldest_shard_age_seconds", pipeline="calls")) == 2
        assert not any(key.startswith(f"{PREFIX}cost_usd{{") for key in found)
        lab.finish()
        found = scrape(deployment)
        assert counted(found, "shards", pipeline="calls") == {"answered": 4}
        assert counted(found, "jobs", **WHO) == {"Completed": 4}
        assert counted(found, "rows", pipeline="calls") == {"ok": 40}
        assert counted(found, "oldest_shard_age_seconds", pipeline="calls") == {}
        assert set(counted(found, "tokens", pipeline="calls")) == {"input", "output"}
        assert 0 < found[sample("cost_usd", pipeline="calls")] < 0.1
        assert found[sample("budget_usd", pipeline="calls")] == 5
        assert counted(found, "up") == {"dagster": 1, "bedrock": 1}
        again, _ = deployment_of(lab)
        assert scrape(again) == found  # another process, which reads the log from its start


def test_records_of_jobs_in_flight(tmp_path: Path) -> None:
    """While a job runs its records are told by what became of them; together they are all of its records."""
    with open_lab(tmp_path, on_disk=True, n_rows=20, max_jobs=1, speed=None) as lab:
        deployment, _ = deployment_of(lab)
        lab.ask()
        lab.tick()
        lab.until(lambda: lab.jobs()[0].n_processed > 0)
        (job,) = lab.jobs()
        told = counted(scrape(deployment), "job_records", **WHO)
        assert sum(told.values()) == job.n_total == 10
        assert told.get("success", 0) + told.get("error", 0) == job.n_processed


def test_jobs_of_others(tmp_path: Path) -> None:
    """Somebody else's job on the model is told as such, and takes a slot of the pool."""
    with open_lab(tmp_path, on_disk=True, n_rows=10, speed=None) as lab:
        lab.ask()
        lab.tick()
        other = lab.pipeline.spec.model_copy(update={"name": "letters"})
        deployment = DeploymentCollector(
            [other], lab.instance, Regions.only(lab.bedrock, lab.store), 0, print, PATIENCE_S
        )
        found = scrape(deployment)
        assert counted(found, "jobs", pipeline="(other)", model=HAIKU) == {"Submitted": 2}
        assert counted(found, "pool_slots_taken") == {"bedrock_batch": 2}


def test_errors_and_attempts(tmp_path: Path) -> None:
    """Rows without an answer, shards that were sent again, and those that failed are told."""
    with open_lab(tmp_path, on_disk=True, n_rows=40, faults=FAULTY, max_attempts=2) as lab:
        deployment, _ = deployment_of(lab)
        lab.ask()
        lab.finish()
        found = scrape(deployment)
        states = list(lab.states.values())
        assert counted(found, "shards", pipeline="calls") == {state: states.count(state) for state in set(states)}
        assert found[sample("retried_shards", pipeline="calls")] > 0
        rows = counted(found, "rows", pipeline="calls")
        assert 0 < rows["error"] < rows["ok"]
        assert sum(rows.values()) == 10 * states.count("answered")


def test_bedrock_that_cannot_be_asked(tmp_path: Path) -> None:
    """Its metrics are left out and the others served; it is told once, with the reason, and once when it is back."""
    with open_lab(tmp_path, on_disk=True, n_rows=10, speed=None) as lab:
        lab.ask()
        lab.tick()
        deployment, told = deployment_of(lab)
        lab.emulator.set_faults(Faults(throttle_rate=1))
        for _ in range(2):
            found = scrape(deployment)
            assert (counted(found, "up"), counted(found, "pool_slots_taken")) == ({"dagster": 1}, {})
            assert found[sample("up", source="bedrock")] == 0
            assert counted(found, "shards", pipeline="calls") == {"submitted": 2}
        assert len(told) == 1
        assert "bedrock cannot be read, its metrics are left out: ListModelInvocationJobs" in told[0]
        lab.emulator.set_faults(Faults())
        assert counted(scrape(deployment), "up") == {"dagster": 1, "bedrock": 1}
        assert told[1:] == ["bedrock can be read again"]


def test_bedrock_that_does_not_answer(tmp_path: Path) -> None:
    """A scrape does not wait for it; what it answers late is there for a later scrape."""
    with open_lab(tmp_path, on_disk=True, n_rows=10, speed=None) as lab:
        lab.emulator.set_faults(Faults(latency_s=6))
        told: list[str] = []
        deployment = DeploymentCollector(
            [lab.pipeline.spec], lab.instance, Regions.only(lab.bedrock, lab.store), 60, told.append, patience_s=0.2
        )
        started = time.monotonic()
        assert counted(scrape(deployment), "up") == {"dagster": 1}
        assert time.monotonic() - started < 5
        assert told == ["bedrock cannot be read, its metrics are left out: TimeoutError: no answer within 0.2 s"]
        lab.until(lambda: counted(scrape(deployment), "up") == {"dagster": 1, "bedrock": 1})


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    """Without Dagster's storage the endpoint tells so, and goes on with Bedrock."""
    with open_lab(tmp_path, on_disk=True, n_rows=10) as lab:
        deployment, told = deployment_of(lab)
        scrape(deployment)
        storage = tmp_path / "dagster" / "events"
        storage.rename(tmp_path / "away")
        storage.write_text("no folder")
        assert counted(scrape(deployment), "up") == {"bedrock": 1}
        assert told[0].startswith("dagster cannot be read, its metrics are left out: ")
        storage.unlink()
        (tmp_path / "away").rename(storage)
        assert counted(scrape(deployment), "up") == {"dagster": 1, "bedrock": 1}


def test_what_was_asked_holds_for_a_while(tmp_path: Path) -> None:
    """Many scrapes within that time ask Bedrock once."""
    with open_lab(tmp_path, on_disk=True, n_rows=10) as lab:
        n_calls: list[str] = []
        lab.bedrock.client.meta.events.register("before-call.bedrock", lambda model, **_: n_calls.append(model.name))
        deployment, _ = deployment_of(lab, hold_s=60)
        for _ in range(5):
            scrape(deployment)
        assert n_calls == ["ListModelInvocationJobs"]


def test_an_inbox(tmp_path: Path) -> None:
    """Files that wait and that were refused are told, and its shards and jobs as a pipeline's are."""
    with open_inbox(tmp_path, on_disk=True, limits={"min_records_per_job": 2, "max_jobs": 1}) as lab:
        specs: list[InboxSpec] = [lab.inbox.spec]
        lab.drop("good.jsonl", lines(4, "matter"))
        deployment = DeploymentCollector(
            specs, lab.instance, Regions.only(lab.bedrock, lab.store), 0, print, PATIENCE_S
        )
        assert counted(scrape(deployment), "inbox_files", inbox=INBOX) == {"waiting": 1}
        lab.drop("bad.jsonl", b"no JSON\n")
        lab.finish()
        found = scrape(deployment)
        assert counted(found, "inbox_files", inbox=INBOX) == {"refused": 1}
        assert counted(found, "shards", pipeline=INBOX) == {"answered": 1}
        assert counted(found, "up") == {"dagster": 1, "bedrock": 1, "inboxes": 1}
