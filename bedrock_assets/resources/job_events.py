"""The Dagster resource for the SQS queue of job events."""

from typing import Any

import dagster as dg
from pydantic import Field

from bedrock_assets.aws.job_events import EventQueue


class EventsResource(dg.ConfigurableResource[Any]):
    """The queue of events that wakes the sensor early; without its URL there is none."""

    queue_url: str | None = Field(default=None, description="URL of the SQS queue that EventBridge sends events to.")
    region_name: str | None = Field(default=None, description="AWS Region of the queue.")
    endpoint_url: str | None = Field(default=None, description="SQS endpoint other than AWS's own.")

    def open(self) -> EventQueue | None:
        """The queue; nothing is read yet."""
        if not self.queue_url:
            return None
        import boto3
        from botocore.config import Config

        # Nobody waits for it: a queue that is away is asked again at the next look.
        config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
        session: Any = boto3.Session(region_name=self.region_name)
        return EventQueue(session.client("sqs", endpoint_url=self.endpoint_url, config=config), self.queue_url)
