"""The sensor that submits shards under the pool's limit and completes partitions when their jobs end."""

from collections.abc import Mapping, Sequence

import dagster as dg

from bedrock_assets.errors import BedrockUnavailable, ConfigError
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.jobs.collect_runs import CollectRuns, collect_job
from bedrock_assets.jobs.dispatch import Tick
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.jobs.rounds import upstream_keys
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.job_events import EventsResource
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.sensors.inbox import build_inbox_sensor
from bedrock_assets.sensors.rounds import build_rounds_sensor, build_schedule
from bedrock_assets.sensors.tables import build_table_sensor
from bedrock_assets.sensors.wakeup import WakeUp
from bedrock_assets.sinks import sinks_of

INTERVAL_S = 30
EVENTS_INTERVAL_S = 5
"""Seconds between two looks at the queue of events; Dagster's daemon evaluates no sensor more often."""


def build_sensors(
    pipelines: Sequence[Pipeline], interval_s: int, inboxes: Sequence[Inbox] = (), *, has_queue: bool = False
) -> list[dg.SensorDefinition]:
    """
    The dispatcher of all *pipelines* and *inboxes* of a code location, one sensor that builds tables, one for the
    automation conditions of what follows from tables, and one for the folder of each inbox.

    There is one dispatcher for all, because two would race for the slots of a pool.

    Args:
        interval_s: Seconds between two looks at Bedrock, and at folders.
        has_queue: Whether there is a queue of events, which is looked at more often.
    """
    workloads = {owner.spec.name: owner.workload for owner in (*pipelines, *inboxes)}
    return [
        _dispatcher(workloads, interval_s, has_queue=has_queue),
        *([build_table_sensor([p.spec for p in pipelines], interval_s)] if pipelines else []),
        *_exports_sensor(pipelines, interval_s),
        *_rounds_sensors(pipelines, interval_s),
        *(build_inbox_sensor(inbox, interval_s) for inbox in inboxes),
    ]


def build_schedules(pipelines: Sequence[Pipeline]) -> list[dg.ScheduleDefinition]:
    """
    The schedules of the pipelines that have one.

    Raises:
        ConfigError: One is no cron expression.
    """
    return [build_schedule(pipeline) for pipeline in pipelines if pipeline.spec.schedule]


def _exports_sensor(pipelines: Sequence[Pipeline], interval_s: int) -> list[dg.SensorDefinition]:
    """The sensor of what follows from tables by an automation condition; none where nothing does."""
    exports = [
        dg.AssetKey(p.spec.key_of(sink.asset)) for p in pipelines for sink in sinks_of(p.spec) if sink.is_automatic
    ]
    exports += [dg.AssetKey(p.spec.key_of("preferences")) for p in pipelines if p.spec.task.compare]
    if not exports:
        return []
    return [
        dg.AutomationConditionSensorDefinition(
            "exports_sensor",
            target=dg.AssetSelection.assets(*exports),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=interval_s,
            description="Makes `preferences` and the assets of sinks anew when a pipeline's table was built.",
        )
    ]


def _rounds_sensors(pipelines: Sequence[Pipeline], interval_s: int) -> list[dg.SensorDefinition]:
    """The sensors of pipelines that run by themselves."""
    tables = {p.spec.name: dg.AssetKey(p.spec.key_of("joined_table")) for p in pipelines}
    return [
        build_rounds_sensor(one, upstream_keys(one.spec, tables.get(one.spec.source.pipeline or "")), interval_s)
        for one in pipelines
        if one.spec.schedule or one.spec.automation
    ]


def _dispatcher(workloads: Mapping[str, Workload], interval_s: int, *, has_queue: bool) -> dg.SensorDefinition:
    ledgers = {name: Ledger.of(workload.spec) for name, workload in workloads.items()}
    # A job for each pipeline, because one job's assets must share their partitions. Its steps stay in the run's own
    # process: another one would import everything again, and be another pod on Kubernetes.
    jobs = [
        dg.define_asset_job(
            collect_job(name),
            selection=[ledger.asset_key],
            description="Collects a job's output.",
            executor_def=dg.in_process_executor,
        )
        for name, ledger in ledgers.items()
    ]

    @dg.sensor(
        name="bedrock_jobs_sensor",
        jobs=jobs,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=min(interval_s, EVENTS_INTERVAL_S) if has_queue else interval_s,
        description="Submits requested shards to Amazon Bedrock under each pool's limit, and launches a run that "
        "collects the output of each job that has ended.",
    )
    def bedrock_jobs_sensor(
        context: dg.SensorEvaluationContext,
        bedrock_batch_store: StoreResource,
        bedrock_batch: BedrockResource,
        bedrock_batch_events: EventsResource,
    ) -> dg.SensorResult:
        for ledger in ledgers.values():
            ledger.refresh(context.instance)
        if not any(ledger.open_entries or ledger.replaced for ledger in ledgers.values()):
            return dg.SensorResult(skip_reason="no shard waits for answers", cursor=context.cursor)
        wake_up = WakeUp.of(bedrock_batch_events, context.cursor, interval_s)
        if not wake_up.due():
            return dg.SensorResult(skip_reason=wake_up.reason, cursor=context.cursor)
        collect_runs = CollectRuns(context.instance)
        try:
            tick = Tick(
                context.instance, workloads, ledgers, bedrock_batch.open(bedrock_batch_store.open()), collect_runs
            )
            tick.run()
        except (BedrockUnavailable, ConfigError) as error:
            context.log.warning(f"nothing done in this tick: {error}")
            return dg.SensorResult(skip_reason=f"nothing done in this tick: {error}", cursor=wake_up.cursor)
        for note in tick.notes:
            context.log.info(note)
        skip_reason = wake_up.acknowledge("; ".join(tick.notes))
        if collect_runs.run_requests:
            return dg.SensorResult(run_requests=collect_runs.run_requests, cursor=wake_up.cursor)
        return dg.SensorResult(skip_reason=skip_reason, cursor=wake_up.cursor)

    return bedrock_jobs_sensor
