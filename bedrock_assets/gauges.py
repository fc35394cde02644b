"""CloudWatch's metrics of a run's model, put into Dagster where there are any. Whatever goes wrong disturbs nothing."""

import time
from dataclasses import dataclass

import dagster as dg
from botocore.exceptions import BotoCoreError

from bedrock_assets.cloudwatch import CloudWatch, Reading
from bedrock_assets.errors import ConfigError, MetricsUnavailable
from bedrock_assets.resources import CLOUDWATCH, BedrockResource
from bedrock_assets.work import Work


@dataclass
class Gauges:
    """The metrics of one model, as one run reads them."""

    context: dg.AssetExecutionContext
    asset_key: dg.AssetKey
    model: str
    cloudwatch: CloudWatch | None
    interval_s: float
    _next_at: float = 0.0
    _warned: bool = False
    _found_nothing: bool = False

    @classmethod
    def of(cls, context: dg.AssetExecutionContext, pipeline: Work, bedrock: BedrockResource) -> "Gauges":
        """Those of a pipeline's model; none unless the resource is set to read them."""
        key = dg.AssetKey([pipeline.spec.name, "batch_outputs"])
        gauges = cls(context, key, pipeline.spec.model, None, bedrock.cloudwatch_interval_s)
        try:
            gauges.cloudwatch = bedrock.open_cloudwatch()
        except (ConfigError, BotoCoreError, ValueError) as error:  # a ValueError is boto3's of a wrong endpoint
            gauges._warn(error)
        return gauges

    def observe(self) -> None:
        """
        Log an observation of the asset, if it is time to.

        It is of no partition and has no `state`: the metrics are of a model, and no news of any shard.
        """
        if self.cloudwatch is None or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self.interval_s
        if reading := self.read():
            self.context.log.info(f"CloudWatch, {reading}")
            told = dg.AssetObservation(self.asset_key, description=f"CloudWatch, {reading}", metadata=reading.metadata)
            self.context.log_event(told)

    def read(self) -> Reading | None:
        """The latest values; None if there are none, or CloudWatch cannot be read, which is told once."""
        if self.cloudwatch is None:
            return None
        try:
            reading = self.cloudwatch.read(self.model)
        except MetricsUnavailable as error:
            self._warn(error)
            return None
        if reading is None and not self._found_nothing:
            self._found_nothing = True
            self.context.log.info(f"CloudWatch has no metrics of {self.model} of the last minutes")
        return reading

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            self.context.log.warning(
                f"no metrics from CloudWatch, the work goes on without them: {error}. Allow what `bedrock-assets iam "
                f"--cloudwatch` prints, or unset {CLOUDWATCH}"
            )
