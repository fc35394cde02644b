"""
Events of Bedrock's jobs, which EventBridge sends to an Amazon SQS queue: a reason to look at Bedrock earlier.

Delivery is best effort: events come late, twice, in any order or not at all (EventBridge user guide, 2026-11). So an
event only decides whether to look now; without it, the look happens at the next interval.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.audit import Effect, announced
from bedrock_assets.aws.job import JobStatus
from bedrock_assets.errors import EventsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


PATTERN = {"source": ["aws.bedrock"], "detail-type": ["Batch Inference Job State Change"]}
"""The event pattern of the EventBridge rule whose target is the queue."""
AT_ONCE = 10
"""Most messages of one call (SQS API reference)."""
MOST_CALLS = 20
"""Calls in one look; messages that are left are read at the next look."""
WAIT_S = 1
"""With a wait of 0, SQS asks only some of its servers and may miss messages."""


@dataclass(frozen=True)
class Event:
    """One message of the queue."""

    receipt: str
    job: str = ""
    """Name or ARN of a job; empty if the message is not an event of a job."""
    status: str = ""

    @property
    def is_news(self) -> bool:
        """Whether a job has ended: a slot is free, or answers are there."""
        return bool(self.job) and not (self.status in [*JobStatus] and JobStatus(self.status).in_flight)


@dataclass(frozen=True)
class EventQueue:
    """The queue. Messages stay in it until they are removed."""

    client: "SQSClient"
    url: str

    def read(self) -> list[Event]:
        """
        The messages in the queue; waits for a second at most.

        Raises:
            EventsUnavailable: The queue cannot be read.
        """
        events: list[Event] = []
        try:
            for number in range(MOST_CALLS):
                answer = self.client.receive_message(
                    QueueUrl=self.url, MaxNumberOfMessages=AT_ONCE, WaitTimeSeconds=0 if number else WAIT_S
                )
                messages = answer.get("Messages", [])
                events += [_event(message) for message in messages]
                if not messages:
                    break
        except (BotoCoreError, ClientError) as error:
            raise EventsUnavailable(f"no events: {self.url} cannot be read: {error}") from error
        return events

    def forget(self, events: Sequence[Event]) -> None:
        """
        Remove events from the queue.

        Raises:
            EventsUnavailable: The queue cannot be changed; they come again.
        """
        try:
            for start in range(0, len(events), AT_ONCE):
                part = events[start : start + AT_ONCE]
                entries: Any = [{"Id": str(i), "ReceiptHandle": event.receipt} for i, event in enumerate(part)]
                with announced(Effect.DELETE, "events"):
                    self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        except (BotoCoreError, ClientError) as error:
            raise EventsUnavailable(f"{len(events)} events stay in {self.url}: {error}") from error


def _event(message: Any) -> Event:
    receipt = str(message.get("ReceiptHandle", ""))
    try:
        body = json.loads(message.get("Body", ""))
        if body["source"] not in PATTERN["source"] or body["detail-type"] not in PATTERN["detail-type"]:
            return Event(receipt)
        detail = body["detail"]
        return Event(receipt, str(detail.get("batchJobName") or detail["batchJobArn"]), str(detail.get("status", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Event(receipt)
