"""The metrics that the endpoint serves: their names, what they say, and their labels, each in one place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

PREFIX = "bedrock_assets_"


@dataclass(frozen=True)
class Metric:
    """A gauge: each is a number of now, as what was counted can be withdrawn, planned anew or answered again."""

    name: str
    told: str
    labels: tuple[str, ...] = ()

    def gauge(self) -> "GaugeMetricFamily":
        """Without a sample yet."""
        from prometheus_client.core import GaugeMetricFamily

        return GaugeMetricFamily(PREFIX + self.name, self.told, labels=self.labels)


UP = Metric("up", "1 if the source could be read, else 0: dagster, bedrock, inboxes.", ("source",))
SHARDS = Metric(
    "shards",
    "Shards that are registered now; requested ones wait for a slot, submitted ones for their job's answers.",
    ("pipeline", "state"),
)
RECORDS = Metric("records", "Records to send of these shards.", ("pipeline", "state"))
HELD = Metric("held_shards", "Shards not submitted until prompt_shards is made anew.", ("pipeline",))
AGAIN = Metric("retried_shards", "Shards in a second or later attempt.", ("pipeline",))
OLDEST = Metric(
    "oldest_shard_age_seconds",
    "For how long the shard that is longest in this open state has been in it; 0 if none is.",
    ("pipeline", "state"),
)
ROWS = Metric("rows", "Rows of answered shards.", ("pipeline", "status"))
TOKENS = Metric("tokens", "Tokens paid for the answers of shards.", ("pipeline", "direction"))
COST = Metric("cost_usd", "US dollars paid for the answers of shards; absent if no price is known.", ("pipeline",))
BUDGET = Metric("budget_usd", "budget_usd of the pipeline; absent if it has none.", ("pipeline",))
JOBS = Metric(
    "jobs",
    "JobCounts at Bedrock created within the last 8 days; (other) are somebody else's.",
    ("pipeline", "model", "status"),
)
JOB_RECORDS = Metric("job_records", "Records of jobs in flight.", ("pipeline", "model", "outcome"))
SLOTS = Metric("pool_slots", "JobCounts that may be in flight at once.", ("pool",))
SLOTS_TAKEN = Metric("pool_slots_taken", "JobCounts in flight on the models of the pool, anybody's.", ("pool",))
SENSOR_ON = Metric("sensor_on", "1 if the sensor is turned on, else 0.", ("sensor",))
SENSOR_TICK = Metric("sensor_last_tick_timestamp_seconds", "When the sensor ticked last.", ("sensor",))
SENSOR_STATUS = Metric("sensor_last_tick_status", "1 for the status of the sensor's last tick.", ("sensor", "status"))
INBOX = Metric("inbox_files", "Files in the folder of an inbox.", ("inbox", "state"))

METRICS = (
    *(UP, SHARDS, RECORDS, HELD, AGAIN, OLDEST, ROWS, TOKENS, COST, BUDGET),
    *(JOBS, JOB_RECORDS, SLOTS, SLOTS_TAKEN, SENSOR_ON, SENSOR_TICK, SENSOR_STATUS, INBOX),
)
"""All of them, in the order in which they are served."""
