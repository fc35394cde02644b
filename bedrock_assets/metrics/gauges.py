"""The metrics that the endpoint serves: name, description and labels of each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

PREFIX = "bedrock_assets_"


@dataclass(frozen=True)
class Metric:
    """A gauge: counts can go down, as shards can be withdrawn, planned again or answered again."""

    name: str
    description: str
    labels: tuple[str, ...] = ()

    def gauge(self) -> "GaugeMetricFamily":
        """The gauge, without samples."""
        from prometheus_client.core import GaugeMetricFamily

        return GaugeMetricFamily(PREFIX + self.name, self.description, labels=self.labels)


UP = Metric("up", "1 if the source (dagster, bedrock, inboxes) could be read, else 0.", ("source",))
SHARDS = Metric(
    "shards",
    "Registered shards; requested ones wait for a slot, submitted ones for their job's answers.",
    ("pipeline", "state"),
)
RECORDS = Metric("records", "Records to send of these shards.", ("pipeline", "state"))
ON_HOLD = Metric("held_shards", "Shards on hold until prompt_shards is materialized again.", ("pipeline",))
RETRIED = Metric("retried_shards", "Shards in a second or later attempt.", ("pipeline",))
OLDEST = Metric(
    "oldest_shard_age_seconds",
    "Seconds that the oldest shard in this open state has been in it; 0 if there is none.",
    ("pipeline", "state"),
)
ROWS = Metric("rows", "Rows of answered shards.", ("pipeline", "status"))
TOKENS = Metric("tokens", "Tokens paid for the answers of shards; absent if unknown.", ("pipeline", "direction"))
COST = Metric("cost_usd", "US dollars paid for the answers of shards; absent if unknown.", ("pipeline",))
BUDGET = Metric("budget_usd", "budget_usd of the pipeline; absent if it has none.", ("pipeline",))
JOBS = Metric(
    "jobs",
    "Jobs at Bedrock created within the last 8 days; (other) are those of other senders.",
    ("pipeline", "model", "status"),
)
JOB_RECORDS = Metric("job_records", "Records of jobs in flight.", ("pipeline", "model", "outcome"))
SLOTS = Metric("pool_slots", "Jobs that may be in flight at once.", ("pool",))
SLOTS_TAKEN = Metric("pool_slots_taken", "Jobs in flight on the models of the pool, from any sender.", ("pool",))
SENSOR_ON = Metric("sensor_on", "1 if the sensor is on, else 0.", ("sensor",))
SENSOR_TICK = Metric("sensor_last_tick_timestamp_seconds", "Time of the sensor's last tick.", ("sensor",))
SENSOR_STATUS = Metric("sensor_last_tick_status", "1 for the status of the sensor's last tick.", ("sensor", "status"))
INBOX = Metric("inbox_files", "Files in the folder of an inbox.", ("inbox", "state"))

METRICS = (
    *(UP, SHARDS, RECORDS, ON_HOLD, RETRIED, OLDEST, ROWS, TOKENS, COST, BUDGET),
    *(JOBS, JOB_RECORDS, SLOTS, SLOTS_TAKEN, SENSOR_ON, SENSOR_TICK, SENSOR_STATUS, INBOX),
)
"""All metrics, in the order in which they are served."""
