"""Job events reach an SQS queue as EventBridge sends them, and the package's own reader takes them."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from bedrock_assets.aws.job_events import EventQueue
from bedrock_assets.emulator import Faults
from tests.emulator.lab import Lab, StartLab
from tests.emulator.worlds import KEY, REGION, S3

LIFE = ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]


@pytest.fixture
def queue(moto: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventQueue]:
    """An empty queue of moto's SQS server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    client: Any = boto3.client("sqs", region_name=REGION, endpoint_url=moto.url)
    url = client.create_queue(QueueName="job-events")["QueueUrl"]
    yield EventQueue(client, url)
    client.delete_queue(QueueUrl=url)
    client.close()


def bodies(queue: EventQueue) -> list[dict[str, Any]]:
    """The events in the queue."""
    found: list[dict[str, Any]] = []
    while messages := queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages", []):
        found += [json.loads(message["Body"]) for message in messages]  # type: ignore[reportTypedDictNotRequiredAccess]
    return found


def finish(lab: Lab, name: str) -> str:
    """Run a job to its end on a stepped clock; its ARN."""
    arn = lab.create(name)
    lab.emulator.advance(0)
    for _ in LIFE:
        lab.emulator.advance(3600)
    return arn


def test_each_status_is_an_event(start: StartLab, queue: EventQueue) -> None:
    """A job's life is in the queue once its clock has advanced; the sensor's reader knows the event of its end."""
    lab = start(stepped=True, events_queue=queue.url)
    arn = finish(lab, "a-job")
    events = queue.read()
    assert sorted(event.status for event in events) == sorted(LIFE)
    assert [event.job for event in events if event.is_news] == ["a-job"]
    lab.faults(missing_event_rate=1)
    finish(lab, "b-job")
    lab.faults(duplicate_event_rate=1, fail_message="No.")
    finish(lab, "c-job")
    found = bodies(queue)
    assert {event["detail"]["batchJobName"] for event in found} == {"c-job"}
    ends = [event for event in found if event["detail"]["status"] == "Failed"]
    assert len(ends) == 2
    assert ends[0]["id"] == ends[1]["id"]
    assert ends[0]["detail"]["failureMessage"] == "No."
    assert ends[0]["resources"] != [arn]


def test_events_wait_for_the_queue(start: StartLab, queue: EventQueue, caplog: pytest.LogCaptureFixture) -> None:
    """A queue that is not there costs no job; its events are sent by the next emulator that has one."""
    lab = start(stepped=True, events_queue=queue.url + "-missing", faults=Faults())
    finish(lab, "a-job")
    assert "job events wait" in caplog.text
    lab.emulator.close()
    again = start(stepped=True, events_queue=queue.url)
    again.emulator.advance(1)
    assert sorted(event["detail"]["status"] for event in bodies(queue)) == sorted(LIFE)
