"""
Alerts for failed runs and for budgets that run out, sent to Slack or to an SNS topic.

Off unless `BEDROCK_ASSETS_ALERT_URL` (an incoming webhook of Slack, or anything that takes `{"text": ...}`) or
`BEDROCK_ASSETS_ALERT_TOPIC` (the ARN of an SNS topic, which needs sns:Publish) is set. An alert that cannot be sent is
logged; a budget alert is sent again at the next tick. Neither fails anything.
"""

import json
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.error import URLError

import dagster as dg
from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError
from bedrock_assets.jobs.event_log import EventLogReader
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.prices import usd

URL, TOPIC = "BEDROCK_ASSETS_ALERT_URL", "BEDROCK_ASSETS_ALERT_TOPIC"
THRESHOLDS = (0.8, 1.0)
"""Of `budget_usd`."""
TIMEOUT_S = 10


class AlertError(BedrockAssetsError):
    """An alert could not be sent."""

    retryable = True


@dataclass(frozen=True)
class Alerts:
    """Where alerts go; both, if both are named."""

    url: str | None = None
    topic: str | None = None

    @classmethod
    def from_environment(cls) -> "Alerts":
        """
        Raises:
            ConfigError: The URL is not HTTP, or the topic is not an ARN.
        """
        url, topic = os.environ.get(URL), os.environ.get(TOPIC)
        if url and not url.startswith(("https://", "http://")):
            raise ConfigError(f"{URL} is not an https:// address")
        if topic and not topic.startswith("arn:"):
            raise ConfigError(f"{TOPIC} {topic!r} is not an ARN such as arn:aws:sns:us-east-1:123456789012:alerts")
        return cls(url, topic)

    def __bool__(self) -> bool:
        return bool(self.url or self.topic)

    def send(self, text: str) -> None:
        """
        Raises:
            AlertError: The receiver did not accept it; the address, which may be a secret, is not in the message.
        """
        if self.url:
            body = json.dumps({"text": text}).encode()
            request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked
            try:
                urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310
            except (URLError, OSError) as error:
                raise AlertError(f"{URL} did not take an alert: {getattr(error, 'reason', error)}") from None
        if self.topic:
            import boto3

            try:
                region = self.topic.split(":")[3]
                sns = boto3.client("sns", region_name=region)
                sns.publish(TopicArn=self.topic, Subject="bedrock-assets", Message=text)
            except (BotoCoreError, ClientError) as error:
                raise AlertError(f"SNS did not take an alert: {error}") from error


def build_alerts(pipelines: Sequence[Pipeline], alerts: Alerts, interval_s: int) -> list[dg.SensorDefinition]:
    """A sensor for failed runs, and one for budgets where there are any; none if no receiver is set."""
    if not alerts:
        return []
    specs = [pipeline.spec for pipeline in pipelines if pipeline.spec.budget_usd]
    return [_failures(alerts), *([_budgets(alerts, specs, interval_s)] if specs else [])]


def _failures(alerts: Alerts) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="alert_run_failure",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends an alert for each run that failed, with its error.",
    )
    def alert_run_failure(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        assets = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or run.job_name
        partition = run.tags.get("dagster/partition")
        where = f"{assets}{f' [{partition}]' if partition else ''}"
        try:
            alerts.send(f"Run {run.run_id[:8]} of {where} failed: {_reason(context)}")
        except AlertError as error:
            context.log.warning(str(error))

    return alert_run_failure


def _reason(context: dg.RunFailureSensorContext) -> str:
    """The error of the step; the run's own message only says that a step failed."""
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        while error and error.cause:
            error = error.cause
        if error:
            told = error.message.strip()
            return (told.partition(f"{error.cls_name}: ")[2] or told)[:500]
    return (context.failure_event.message or "Dagster gave no reason")[:500]


@dataclass
class Spending:
    """The cost of a pipeline's partitions, by the latest materialization of each."""

    key: dg.AssetKey
    costs: dict[str, float] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set[str])
    """Partitions whose cost is not known."""
    _reader: EventLogReader | None = None

    def refresh(self, instance: dg.DagsterInstance) -> float:
        """US dollars in all, as far as they are known."""
        self._reader = self._reader or EventLogReader(self.key)
        for logged in self._reader.read(instance).events:
            shard = logged.event.partition
            if shard and "cost_usd" in logged.metadata:
                self.costs[shard] = float(logged.metadata["cost_usd"])
                self.unknown.discard(shard)
            elif shard and "cost" in logged.metadata:
                self.costs.pop(shard, None)
                self.unknown.add(shard)
        return sum(self.costs.values())


def _budgets(alerts: Alerts, specs: Sequence[PipelineSpec], interval_s: int) -> dg.SensorDefinition:
    budgets = {spec.name: spec.budget_usd for spec in specs if spec.budget_usd}
    spendings = {spec.name: Spending(dg.AssetKey(spec.key_of("batch_outputs"))) for spec in specs}

    @dg.sensor(
        name="alert_budget",
        target=None,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_s,
        description="Sends an alert when the answers of a pipeline have cost 80 % and 100 % of its budget_usd.",
    )
    def alert_budget(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        shares: dict[str, float] = json.loads(context.cursor or "{}")
        for name, budget in budgets.items():
            spent = spendings[name].refresh(context.instance)
            share = max((share for share in THRESHOLDS if spent >= share * budget), default=0.0)
            if share > shares.get(name, 0.0):
                try:
                    left_out = len(spendings[name].unknown)
                    more = f"; what {left_out} partitions have cost is not known" if left_out else ""
                    cost = f"{name} has cost {usd(spent)}, {spent / budget:.0%} of its budget of {usd(budget)}"
                    alerts.send(cost + more)
                except AlertError as error:
                    context.log.warning(str(error))
                    continue
            shares[name] = share
        return dg.SensorResult(cursor=json.dumps(shares))

    return alert_budget
