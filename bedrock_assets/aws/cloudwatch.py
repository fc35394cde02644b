"""
CloudWatch's metrics of batch jobs: how much is pending and how fast it is processed, for each model of an account.

A metric covers all jobs on a model in the account and Region, whoever sent them. Some models lack some metrics, and no
model has any before its first job: missing ones are left out. Nothing depends on them.

Source: "Monitor Amazon Bedrock batch inference using Amazon CloudWatch metrics", AWS blog, 2025-09.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.errors import MetricsUnavailable
from bedrock_assets.families import bare_id

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


NAMESPACE, DIMENSION = "AWS/Bedrock/Batch", "ModelId"
METRICS = {
    "records_pending": "NumberOfRecordsPendingProcessing",
    "tokens_pending": "NumberOfTokensPendingProcessing",
    "input_tokens_per_min": "NumberOfInputTokensProcessedPerMinute",
    "output_tokens_per_min": "NumberOfOutputTokensProcessedPerMinute",
}
"""Our names and CloudWatch's; only Anthropic's models have `tokens_pending`."""
PERIOD_S = 60
LOOK_BACK = timedelta(minutes=15)
"""An older value says nothing about now."""


@dataclass(frozen=True)
class MetricValues:
    """The latest values of one model."""

    model: str
    """The value of `ModelId` under which they were found."""
    values: Mapping[str, float]
    """By our names; metrics that CloudWatch lacks are left out."""

    def __str__(self) -> str:
        parts = [f"{value:,.0f} {name.replace('_', ' ')}" for name, value in self.values.items()]
        return f"all jobs on {self.model} in this account: {', '.join(parts)}"

    @property
    def metadata(self) -> dict[str, float | str]:
        """For an event in Dagster, which plots the numbers."""
        return {**{f"cloudwatch_{name}": value for name, value in self.values.items()}, "cloudwatch_model": self.model}


def sum_of(readings: Sequence[MetricValues]) -> MetricValues:
    """The sums over several models, or over one model in several Regions."""
    names = [name for name in METRICS if any(name in reading.values for reading in readings)]
    totals = {name: sum(reading.values.get(name, 0.0) for reading in readings) for name in names}
    return MetricValues(", ".join(dict.fromkeys(reading.model for reading in readings)), totals)


@dataclass(frozen=True)
class CloudWatch:
    """CloudWatch of one account and Region."""

    client: "CloudWatchClient"
    _found: dict[str, str] = field(default_factory=dict)
    """By model, the name under which its metrics were found, so that only those are queried, and paid for, again."""

    def read(self, model: str) -> MetricValues | None:
        """
        The latest values of a model id, inference profile or ARN; None if there are none.

        Each metric that is queried costs (0.01 US dollars for a thousand; Amazon CloudWatch pricing, 2026-11).

        Raises:
            MetricsUnavailable: CloudWatch is not reachable, or may not be read.
        """
        names = [self._found[model]] if model in self._found else names_of(model)
        now = datetime.now(UTC)
        queries: Any = [_query(f"m{i}_{ours}", METRICS[ours], name) for i, name in enumerate(names) for ours in METRICS]
        try:
            answer: Any = self.client.get_metric_data(
                MetricDataQueries=queries, StartTime=now - LOOK_BACK, EndTime=now, ScanBy="TimestampDescending"
            )
        except (BotoCoreError, ClientError) as error:
            raise MetricsUnavailable(f"GetMetricData of {model}: {error}") from error
        results = answer.get("MetricDataResults", ())
        latest = {result["Id"]: result["Values"][0] for result in results if result.get("Values")}
        for i, name in enumerate(names):
            if values := {ours: latest[f"m{i}_{ours}"] for ours in METRICS if f"m{i}_{ours}" in latest}:
                self._found[model] = name
                return MetricValues(name, values)
        self._found.pop(model, None)
        return None


def names_of(model: str) -> Sequence[str]:
    """
    Values of `ModelId` under which a model's metrics may be found, the most specific first.

    AWS does not document the value for an inference profile: its id, its ARN or the model behind it.
    """
    return list(dict.fromkeys([model, model.rpartition("/")[2], bare_id(model)]))


def _query(identity: str, metric: str, model: str) -> dict[str, Any]:
    dimensions = [{"Name": DIMENSION, "Value": model}]
    names = {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions}
    return {"Id": identity, "MetricStat": {"Metric": names, "Period": PERIOD_S, "Stat": "Average"}}
