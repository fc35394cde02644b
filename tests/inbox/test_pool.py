"""Inboxes and pipelines of one code location share a dispatcher and a pool."""

from pathlib import Path

import dagster as dg

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.aws.regions import Regions
from bedrock_assets.jobs.collect_runs import CollectRuns
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sensors.jobs import build_sensors
from tests.labs.dispatch import RANGE_END_TAG, RANGE_START_TAG
from tests.labs.inbox import INBOX, Lab, lines, open_lab
from tests.labs.stages import build_pipeline, texts

LIMITS = {"max_records_per_job": 4, "min_records_per_job": 2, "max_jobs": 2}


def test_one_dispatcher_serves_both(tmp_path: Path) -> None:
    """A pipeline's shards and an inbox's files never exceed the pool's limit together, and take turns for slots."""
    with open_lab(tmp_path, speed=None, limits=LIMITS) as lab:
        texts(16).write_parquet(tmp_path / "calls.parquet")
        pipeline = build_pipeline(tmp_path / "calls.parquet", id_column="id", limits=LIMITS, reuse_answers_days=0)
        _ask(lab, pipeline)
        for i in range(4):
            lab.drop(f"file-{i}.jsonl", lines(4, f"matter {i}"))
        assert lab.run("dropped_files")
        ledgers = {name: Ledger(name) for name in (INBOX, "calls")}
        workloads = {INBOX: lab.inbox.workload, "calls": pipeline.workload}

        def tick() -> set[str]:
            for ledger in ledgers.values():
                ledger.refresh(lab.instance)
            Tick(
                lab.instance, workloads, ledgers, Regions.only(lab.bedrock, lab.store), CollectRuns(lab.instance)
            ).run()
            return {job.name[:7] for job in lab.jobs() if job.status.in_flight}

        for _ in range(4):
            assert tick() == {"ba-mail", "ba-call"}
            flying = [job for job in lab.jobs() if job.status.in_flight]
            assert len(flying) == 2
            for job in flying:
                lab.bedrock.stop(job.arn)
            lab.until(lambda: not any(job.status.in_flight for job in lab.jobs()))
        assert tick() == set()
        assert len(lab.jobs()) == 8
        assert set(ledgers["calls"].entries) == set(lab.instance.get_dynamic_partitions("calls_shards"))


def test_there_is_one_dispatcher(tmp_path: Path) -> None:
    """However many pipelines and inboxes there are, one sensor submits; inboxes alone need no sensor of tables."""
    with open_lab(tmp_path) as lab:
        texts(2).write_parquet(tmp_path / "calls.parquet")
        pipeline = build_pipeline(tmp_path / "calls.parquet", id_column="id")
        names = [sensor.name for sensor in build_sensors([pipeline], 30, [lab.inbox])]
        assert names == ["bedrock_jobs_sensor", "joined_table_sensor", "mail_files_sensor"]
        assert [sensor.name for sensor in build_sensors([], 30, [lab.inbox])] == [
            "bedrock_jobs_sensor",
            "mail_files_sensor",
        ]


def test_a_cancelled_run_withdraws_what_it_took(tmp_path: Path) -> None:
    """When the run that took a file is cancelled its job is stopped; dropped again, the rest of it is sent."""
    with open_lab(tmp_path, speed=None) as lab:
        lab.drop("first.jsonl", lines(4))
        for _ in range(3):
            lab.tick()
        (run,) = lab.instance.get_runs(dg.RunsFilter(tags={"bedrock_assets/inbox": INBOX}))
        lab.instance.report_run_canceled(run)
        lab.tick()
        lab.until(lambda: not any(job.status.in_flight for job in lab.jobs()))
        lab.tick()
        assert lab.states == {"first": RequestState.WITHDRAWN}
        lab.drop("first.jsonl", lines(4))
        assert lab.finish() == {"first": RequestState.ANSWERED}
        assert set(lab.answers("first")["status"]) == {"ok"}


def _ask(lab: Lab, pipeline: Pipeline) -> None:
    """Ask for the answers to all shards of a pipeline."""
    assets = build_assets(pipeline)
    for name in ("raw_dataset", "prompt_shards", "batch_outputs"):
        shards = lab.instance.get_dynamic_partitions("calls_shards")
        span = {RANGE_START_TAG: shards[0], RANGE_END_TAG: shards[-1]} if shards else {}
        config = {"ops": {"calls__batch_outputs": {"config": {"wait": False}}}} if name == "batch_outputs" else {}
        selection = [dg.AssetKey(["calls", name])]
        assert dg.materialize(
            assets, selection=selection, instance=lab.instance, resources=lab.resources, tags=span, run_config=config
        ).success
