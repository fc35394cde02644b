"""CloudWatch's metrics of a run's models, put into Dagster if there are any. Whatever goes wrong disturbs nothing."""

import time
from dataclasses import dataclass

import dagster as dg
from botocore.exceptions import BotoCoreError

from bedrock_assets.aws.cloudwatch import CloudWatch, MetricValues, sum_of
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import ConfigError, MetricsUnavailable
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.environment import CLOUDWATCH


@dataclass
class WorkloadMetrics:
    """The metrics of a pipeline's models, as one run reads them."""

    context: dg.AssetExecutionContext
    asset_key: dg.AssetKey
    sources: list[tuple[str, CloudWatch]]
    """The models, each with the CloudWatch of its place; none unless they are to be read."""
    interval_s: float
    _next_at: float = 0.0
    _warned: bool = False
    _found_nothing: bool = False

    @classmethod
    def of(
        cls, context: dg.AssetExecutionContext, pipeline: Workload, bedrock: BedrockResource, regions: Regions
    ) -> "WorkloadMetrics":
        """Those of a pipeline's models; none unless the resource is set to read them."""
        key = dg.AssetKey([pipeline.spec.name, "batch_outputs"])
        metrics = cls(context, key, [], bedrock.cloudwatch_interval_s)
        try:
            for target in pipeline.spec.targets:
                if cloudwatch := bedrock.open_cloudwatch(regions.at(target)):
                    metrics.sources.append((target.model, cloudwatch))
        except (ConfigError, BotoCoreError, ValueError) as error:  # a ValueError is boto3's of a wrong endpoint
            metrics._warn(error)
        return metrics

    def observe(self) -> None:
        """
        Log an observation of the asset, if it is time to.

        It is of no partition and has no `state`: the metrics are of a model, and no news of any shard.
        """
        if not self.sources or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self.interval_s
        if reading := self.read():
            self.context.log.info(f"CloudWatch, {reading}")
            told = dg.AssetObservation(self.asset_key, description=f"CloudWatch, {reading}", metadata=reading.metadata)
            self.context.log_event(told)

    def read(self) -> MetricValues | None:
        """
        The latest values, those of several models added up; None if there are none, or CloudWatch cannot be read, which
        is told once.
        """
        readings: list[MetricValues] = []
        for model, cloudwatch in self.sources:
            try:
                readings += [reading] if (reading := cloudwatch.read(model)) else []
            except MetricsUnavailable as error:
                self._warn(error)
                return None
        if not readings and self.sources and not self._found_nothing:
            self._found_nothing = True
            models = ", ".join(dict.fromkeys(model for model, _ in self.sources))
            self.context.log.info(f"CloudWatch has no metrics of {models} of the last minutes")
        return sum_of(readings) if readings else None

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            self.context.log.warning(
                f"no metrics from CloudWatch, the work goes on without them: {error}. Allow what `bedrock-assets iam "
                f"--cloudwatch` prints, or unset {CLOUDWATCH}"
            )
