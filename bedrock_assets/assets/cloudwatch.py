"""CloudWatch's metrics of a run's models, shown in Dagster if there are any. A failure here disturbs nothing."""

import time
from dataclasses import dataclass

import dagster as dg
from botocore.exceptions import BotoCoreError

from bedrock_assets.aws.cloudwatch import CloudWatch, MetricValues, sum_of
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import ConfigError, MetricsUnavailable
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource


@dataclass
class WorkloadMetrics:
    """The metrics of a pipeline's models, as one run reads them."""

    context: dg.AssetExecutionContext
    asset_key: dg.AssetKey
    sources: list[tuple[str, CloudWatch]]
    """The models, each with the CloudWatch of its Region; none if metrics are not read."""
    interval_s: float
    _next_at: float = 0.0
    _has_warned: bool = False
    _has_said_none: bool = False

    @classmethod
    def of(
        cls, context: dg.AssetExecutionContext, workload: Workload, bedrock: BedrockResource, regions: Regions
    ) -> "WorkloadMetrics":
        """The metrics of a pipeline's models; none unless the resource is set to read them."""
        key = dg.AssetKey(workload.spec.key_of("batch_outputs"))
        metrics = cls(context, key, [], bedrock.cloudwatch_interval_s)
        try:
            for target in workload.spec.targets:
                if cloudwatch := bedrock.open_cloudwatch(regions.at(target)):
                    metrics.sources.append((target.model, cloudwatch))
        except (ConfigError, BotoCoreError, ValueError) as error:  # boto3 raises ValueError for a wrong endpoint
            metrics._warn(error)
        return metrics

    def observe(self) -> None:
        """
        Log an observation of the asset, if the interval is over.

        It has no partition and no `state`: the metrics are about a model, not about a shard.
        """
        if not self.sources or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self.interval_s
        if values := self.read():
            self.context.log.info(f"CloudWatch, {values}")
            observation = dg.AssetObservation(
                self.asset_key, description=f"CloudWatch, {values}", metadata=values.metadata
            )
            self.context.log_event(observation)

    def read(self) -> MetricValues | None:
        """The latest values, added up over models; None if there are none, or if CloudWatch cannot be read."""
        all_values: list[MetricValues] = []
        for model, cloudwatch in self.sources:
            try:
                all_values += [values] if (values := cloudwatch.read(model)) else []
            except MetricsUnavailable as error:
                self._warn(error)
                return None
        if not all_values and self.sources and not self._has_said_none:
            self._has_said_none = True
            models = ", ".join(dict.fromkeys(model for model, _ in self.sources))
            self.context.log.info(f"CloudWatch has no metrics of {models} for the last minutes")
        return sum_of(all_values) if all_values else None

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            self.context.log.warning(
                f"no metrics from CloudWatch, the run goes on without them: {error}. Allow what `bedrock-assets iam "
                "--cloudwatch` prints, or unset BEDROCK_ASSETS_CLOUDWATCH"
            )
