"""The sensor that builds a pipeline's table when the last of its shards is answered."""

from collections.abc import Sequence

import dagster as dg

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.jobs.table_rounds import TableRounds
from bedrock_assets.jobs.under_way import UnderWay


def build_table_sensor(specs: Sequence[PipelineSpec], interval_s: int) -> dg.SensorDefinition:
    """The sensor that builds the tables of pipelines."""
    rounds = [TableRounds(spec) for spec in specs]

    @dg.sensor(
        name="joined_table_sensor",
        target=dg.AssetSelection.assets(*(one.key for one in rounds)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description="Builds a pipeline's table when the last of its shards is answered, unless a backfill does so.",
    )
    def joined_table_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        under_way = UnderWay(context.instance)
        found = {one.pipeline: one.next(context.instance, under_way) for one in rounds}
        requests = [request for request in found.values() if isinstance(request, dg.RunRequest)]
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.items() if isinstance(reason, str))
        return dg.SensorResult(run_requests=requests) if requests else dg.SensorResult(skip_reason=reasons)

    return joined_table_sensor
