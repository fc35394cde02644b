"""Pipelines that run by themselves: their schedules, and the sensor that takes the next step of each."""

from collections.abc import Sequence

import dagster as dg

from bedrock_assets.errors import ConfigError
from bedrock_assets.jobs.rounds import Rounds
from bedrock_assets.jobs.under_way import UnderWay
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource


def build_schedule(pipeline: Pipeline) -> dg.ScheduleDefinition:
    """
    The schedule that begins a pipeline's rounds; a time that falls into a round is left out.

    Raises:
        ConfigError: It is no cron expression, or there is no such time zone.
    """
    spec, schedule = pipeline.spec, pipeline.spec.schedule
    assert schedule is not None  # noqa: S101 - only pipelines with one are given
    rounds, raw = Rounds(pipeline.workload), dg.AssetKey(spec.key_of("raw_dataset"))

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        rounds.ledger.refresh(context.instance)
        rounds.store = context.resources.bedrock_batch_store.open()
        if reason := rounds.busy(UnderWay(context.instance)):
            return dg.SkipReason(reason)
        return dg.RunRequest(asset_selection=[raw])

    try:
        return dg.ScheduleDefinition(
            name=f"{spec.name}_schedule",
            target=dg.AssetSelection.assets(raw),
            cron_schedule=schedule.cron,
            execution_timezone=schedule.timezone,
            execution_fn=evaluate,
            required_resource_keys={"bedrock_batch_store"},
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Reads the data of {spec.name} anew; what has changed is answered, and the table built.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(
            f"{spec.name}: schedule {schedule.cron!r} in {schedule.timezone!r} is not a cron expression of five fields "
            "and a time zone; write for example `schedule: {cron: 0 3 * * *, timezone: Europe/Berlin}`"
        ) from error


def build_rounds_sensor(pipeline: Pipeline, upstream: Sequence[dg.AssetKey], interval_s: int) -> dg.SensorDefinition:
    """
    The sensor that takes the next step of a pipeline with a `schedule` or `automation`.

    There is one for each pipeline, because the assets that a sensor may launch must share their partitions.

    Args:
        upstream: The assets that its `raw_dataset` is made of.

    Raises:
        ConfigError: `automation` is set where no asset could begin a round.
    """
    spec, steps = pipeline.spec, ("raw_dataset", "prompt_shards", "batch_outputs")
    if spec.automation and not upstream:
        raise ConfigError(
            f"{spec.name}: automation follows an upstream asset, and this source has none; name one with "
            "`source: {asset: ...}` or `source: {pipeline: ...}`, or set `schedule: 0 3 * * *`"
        )
    rounds = Rounds(pipeline.workload, upstream, spec.automation)

    @dg.sensor(
        name=f"{spec.name}_rounds_sensor",
        target=dg.AssetSelection.assets(*map(spec.key_of, steps)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description=f"Takes the next step of {spec.name}, which runs by itself: makes new prompts, and requests shards "
        "that have no answers.",
    )
    def rounds_sensor(context: dg.SensorEvaluationContext, bedrock_batch_store: StoreResource) -> dg.SensorResult:
        rounds.store = bedrock_batch_store.open()
        found = rounds.next(context.instance, UnderWay(context.instance))
        return dg.SensorResult(skip_reason=found) if isinstance(found, str) else dg.SensorResult(run_requests=found)

    return rounds_sensor
