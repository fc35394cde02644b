"""The sensor that submits shards under the pool's limit and completes partitions as their jobs end."""

from collections.abc import Mapping, Sequence

import dagster as dg

from bedrock_assets.dispatch import Tick
from bedrock_assets.errors import BedrockUnavailable, ConfigError
from bedrock_assets.launches import Launches, collect_job
from bedrock_assets.ledger import Ledger
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.resources import BedrockResource, StoreResource

INTERVAL_S = 30


def build_sensors(pipelines: Sequence[Pipeline], interval_s: int) -> list[dg.SensorDefinition]:
    """
    The dispatcher of all *pipelines* of a code location, and the one that evaluates their automation conditions.

    There is one dispatcher for all, because two would race for the slots of a pool.
    """
    by_name = {pipeline.spec.name: pipeline for pipeline in pipelines}
    ledgers = {name: Ledger(name) for name in by_name}
    tables = [dg.AssetKey([name, "joined_table"]) for name in by_name]
    tables += [dg.AssetKey([name, "delta_table"]) for name, pipeline in by_name.items() if pipeline.spec.delta]
    tables += [dg.AssetKey([name, "preferences"]) for name, pipeline in by_name.items() if pipeline.spec.task.compare]
    return [
        _dispatcher(by_name, ledgers, interval_s),
        dg.AutomationConditionSensorDefinition(
            "joined_table_sensor",
            target=dg.AssetSelection.assets(*tables),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=interval_s,
            description="Builds a pipeline's table when the last of its shards is answered.",
        ),
    ]


def _dispatcher(
    pipelines: Mapping[str, Pipeline], ledgers: Mapping[str, Ledger], interval_s: int
) -> dg.SensorDefinition:
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
