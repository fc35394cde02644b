"""Pipelines that run by themselves: their schedules, and the sensor that takes the next step of each."""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.jobs.rounds import Rounds
from bedrock_assets.jobs.under_way import UnderWay


def build_schedule(spec: PipelineSpec) -> dg.ScheduleDefinition:
    """
    The schedule that begins a pipeline's rounds; a time that falls into a round is left out.

    Raises:
        ConfigError: It is no cron expression, or there is no such time zone.
    """
    schedule = spec.schedule
    assert schedule is not None  # noqa: S101 - only pipelines with one are given
    rounds, raw = Rounds(spec), dg.AssetKey(spec.key_of("raw_dataset"))

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        rounds.ledger.refresh(context.instance)
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
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Reads the data of {spec.name} anew; what has changed is answered, and the table built.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(
            f"{spec.name}: schedule {schedule.cron!r} in {schedule.timezone!r} is not a cron expression of five fields "
            "and a time zone; write for example `schedule: {cron: 0 3 * * *, timezone: Europe/Berlin}`"
        ) from error


def build_rounds_sensor(
    specs: Sequence[PipelineSpec], upstream: Mapping[str, Sequence[dg.AssetKey]], interval_s: int
) -> dg.SensorDefinition:
    """
    The sensor that takes the next step of each pipeline with a `schedule` or `automation`.

    Args:
        upstream: By pipeline, the assets that its `raw_dataset` is made of.

    Raises:
        ConfigError: `automation` is set where no asset could begin a round.
    """
    for spec in specs:
        if spec.automation and not upstream[spec.name]:
            raise ConfigError(
                f"{spec.name}: automation follows an upstream asset, and this source has none; name one with "
                "`source: {asset: ...}` or `source: {pipeline: ...}`, or set `schedule: 0 3 * * *`"
            )
    all_rounds = [Rounds(spec, upstream[spec.name], spec.automation) for spec in specs]
    steps = ("raw_dataset", "prompt_shards", "batch_outputs")

    @dg.sensor(
        name="bedrock_rounds_sensor",
        target=dg.AssetSelection.assets(*(spec.key_of(step) for spec in specs for step in steps)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description="Takes the next step of pipelines with a `schedule` or `automation`: makes new prompts, and "
        "requests shards that have no answers.",
    )
    def bedrock_rounds_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _result(all_rounds, context.instance)

    return bedrock_rounds_sensor


def _result(all_rounds: Sequence[Rounds], instance: DagsterInstance) -> dg.SensorResult:
    under_way = UnderWay(instance)
    found = {rounds.pipeline: rounds.next(instance, under_way) for rounds in all_rounds}
    requests = [request for step in found.values() if not isinstance(step, str) for request in step]
    reasons = "; ".join(f"{name}: {reason}" for name, reason in found.items() if isinstance(reason, str))
    return dg.SensorResult(run_requests=requests) if requests else dg.SensorResult(skip_reason=reasons)
