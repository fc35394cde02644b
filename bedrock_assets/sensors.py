"""The sensor that submits shards under the pool's limit and completes partitions as their jobs end."""

from collections.abc import Mapping, Sequence

import dagster as dg

from bedrock_assets.dispatch import Tick
from bedrock_assets.errors import BedrockUnavailable, ConfigError
from bedrock_assets.inbox import Inbox
from bedrock_assets.launches import Launches, collect_job
from bedrock_assets.ledger import Ledger
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.resources import BedrockResource, StoreResource
from bedrock_assets.watching import build_inbox_sensor
from bedrock_assets.work import Work

INTERVAL_S = 30


def build_sensors(
    pipelines: Sequence[Pipeline], interval_s: int, inboxes: Sequence[Inbox] = ()
) -> list[dg.SensorDefinition]:
    """
    The dispatcher of all *pipelines* and *inboxes* of a code location, one that evaluates the automation conditions of
    pipelines, and one for the folder of each inbox.

    There is one dispatcher for all, because two would race for the slots of a pool.
    """
    by_name: dict[str, Work] = {work.spec.name: work for work in (*pipelines, *inboxes)}
    return [
        _dispatcher(by_name, {name: Ledger(name) for name in by_name}, interval_s),
        *([_tables_sensor(pipelines, interval_s)] if pipelines else []),
        *(build_inbox_sensor(inbox, interval_s) for inbox in inboxes),
    ]


def _tables_sensor(pipelines: Sequence[Pipeline], interval_s: int) -> dg.SensorDefinition:
    names = [pipeline.spec.name for pipeline in pipelines]
    tables = [dg.AssetKey([name, "joined_table"]) for name in names]
    tables += [dg.AssetKey([p.spec.name, "preferences"]) for p in pipelines if p.spec.task.compare]
    return dg.AutomationConditionSensorDefinition(
        "joined_table_sensor",
        target=dg.AssetSelection.assets(*tables),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description="Builds a pipeline's table when the last of its shards is answered.",
    )


def _dispatcher(pipelines: Mapping[str, Work], ledgers: Mapping[str, Ledger], interval_s: int) -> dg.SensorDefinition:
    # A job for each pipeline, because one job's assets must share their partitions.
    jobs = [
        dg.define_asset_job(collect_job(name), selection=[ledger.asset_key], description="Collects a job's output.")
        for name, ledger in ledgers.items()
    ]

    @dg.sensor(
        name="bedrock_jobs_sensor",
        jobs=jobs,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description="Submits requested shards to Amazon Bedrock under each pool's limit, and launches a run that "
        "collects the output of each job that has ended.",
    )
    def bedrock_jobs_sensor(
        context: dg.SensorEvaluationContext, store: StoreResource, bedrock: BedrockResource
    ) -> dg.SensorResult | dg.SkipReason:
        for ledger in ledgers.values():
            ledger.refresh(context.instance)
        if not any(ledger.open_entries or ledger.replaced for ledger in ledgers.values()):
            return dg.SkipReason("no shard waits for answers")
        opened, launches = store.open(), Launches(context.instance)
        try:
            tick = Tick(context.instance, pipelines, ledgers, opened, bedrock.open(opened), launches)
            tick.run()
        except (BedrockUnavailable, ConfigError) as error:
            context.log.warning(f"nothing done in this tick: {error}")
            return dg.SkipReason(f"nothing done in this tick: {error}")
        for note in tick.notes:
            context.log.info(note)
        if launches.asked:
            return dg.SensorResult(run_requests=launches.asked)
        return dg.SkipReason("; ".join(tick.notes))

    return bedrock_jobs_sensor
