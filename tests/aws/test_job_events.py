"""Events wake the dispatcher early, whatever order they come in; without them its interval holds."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest

from bedrock_assets.aws.job_events import AT_ONCE, PATTERN, EventQueue
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.ledger import RequestState
from tests.emulator.worlds import KEY, REGION, S3
from tests.labs.inbox import Lab, lines, open_lab

SENSOR = "bedrock_jobs_sensor"
HOUR_S = 3600
_numbers = count()


@pytest.fixture
def queue(moto: S3, monkeypatch: pytest.MonkeyPatch) -> EventQueue:
    """An empty queue, and the settings by which it is found."""
    for name in ("SQS", "EVENTBRIDGE"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", moto.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    client: Any = boto3.client("sqs", region_name=REGION)
    return EventQueue(client, client.create_queue(QueueName=f"events-{next(_numbers)}")["QueueUrl"])


def event(status: str, job: str = "ba-mail-first-1", **changes: object) -> str:
    """A message as EventBridge sends it."""
    detail = {"accountId": "123456789012", "batchJobName": job, "status": status, "failureMessage": ""}
    arn = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl"
    detail |= {"batchJobArn": arn, "batchModelId": "m", "creationTime": "2026-11-20T10:00:00Z"}
    about = {
        "version": "0",
        "id": "1",
        "source": "aws.bedrock",
        "detail-type": "Batch Inference Job State Change",
    }
    return json.dumps({**about, "detail": detail, **changes})


def send(queue: EventQueue, *bodies: str) -> None:
    """Send messages in this order."""
    for body in bodies:
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body)


def waiting(queue: EventQueue) -> int:
    """Messages that are in the queue, read or not."""
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)["Attributes"]
    return sum(int(told[name]) for name in names)


def begun(lab: Lab, queue: EventQueue, n_files: int = 1) -> None:
    """Drop files, submit what fits, and from then on look at Bedrock once an hour or at an event."""
    for i in range(n_files):
        lab.drop(f"file-{i}.jsonl", lines(4, f"matter {i}"))
    for _ in range(3):
        lab.tick()
    assert RequestState.SUBMITTED in lab.states.values()
    lab.interval_s, lab.queue_url = HOUR_S, queue.url
    lab.restart()
    lab.tick()  # the first look, which begins the hour
    lab.tick()
    assert "the next look at Bedrock is in" in lab.skipped[SENSOR]


def end(lab: Lab) -> None:
    """Let all jobs end."""
    lab.until(lambda: not any(job.status.in_flight for job in lab.jobs()))


def test_an_event_wakes_the_sensor(tmp_path: Path, queue: EventQueue) -> None:
    """After an event the next evaluation collects the ended job and fills its slot, an hour before the interval."""
    with open_lab(tmp_path, speed=None, limits={"min_records_per_job": 2, "max_jobs": 1}) as lab:
        begun(lab, queue, n_files=2)
        end(lab)
        lab.tick()
        assert (list(lab.states.values()), len(lab.jobs())) == ([RequestState.SUBMITTED, RequestState.REQUESTED], 1)
        send(queue, event("Completed"))
        lab.tick()
        assert (list(lab.states.values()), len(lab.jobs())) == ([RequestState.ANSWERED, RequestState.SUBMITTED], 2)
        assert waiting(queue) == 0


def test_an_event_that_comes_before_the_news(tmp_path: Path, queue: EventQueue) -> None:
    """An event of a job that Bedrock still tells to be in flight changes nothing; the job is collected later."""
    with open_lab(tmp_path, speed=None) as lab:
        begun(lab, queue)
        send(queue, event("Completed"))
        lab.tick()
        assert (lab.states, waiting(queue)) == ({"file-0": RequestState.SUBMITTED}, 0)
        assert "woken by 1 events" in lab.skipped[SENSOR]
        end(lab)
        lab.cursors[SENSOR] = None  # the hour is over
        lab.tick()
        assert lab.states == {"file-0": RequestState.ANSWERED}


def test_an_event_that_comes_after_the_news(tmp_path: Path, queue: EventQueue) -> None:
    """An event of a job that was collected already, by the interval, changes nothing while the next job runs."""
    with open_lab(tmp_path, speed=None, limits={"min_records_per_job": 2, "max_jobs": 1}) as lab:
        begun(lab, queue, n_files=2)
        end(lab)
        lab.cursors[SENSOR] = None
        lab.tick()
        before = lab.states
        assert list(before.values()) == [RequestState.ANSWERED, RequestState.SUBMITTED]
        send(queue, event("Completed"))
        lab.tick()
        assert "woken by 1 events" in lab.skipped[SENSOR]
        assert (lab.states, len(lab.jobs()), waiting(queue)) == (before, 2, 0)


def test_a_queue_of_no_use_is_not_read(tmp_path: Path, queue: EventQueue) -> None:
    """While no shard waits for answers nothing is asked, neither Bedrock nor the queue."""
    with open_lab(tmp_path) as lab:
        lab.queue_url = queue.url
        lab.restart()
        send(queue, event("Completed"))
        lab.tick()
        assert (lab.skipped[SENSOR], waiting(queue)) == ("no shard waits for answers", 1)


def test_events_twice_and_in_any_order(tmp_path: Path, queue: EventQueue) -> None:
    """Events that come twice, and the end before the beginning, are one reason to look: nothing is done twice."""
    with open_lab(tmp_path, speed=None) as lab:
        begun(lab, queue, n_files=2)
        end(lab)
        send(queue, *[event("Completed"), event("InProgress"), event("Submitted"), event("Completed")] * 6)
        assert waiting(queue) == 24 > AT_ONCE
        lab.tick()
        assert set(lab.states.values()) == {RequestState.ANSWERED}
        assert (len(lab.jobs()), waiting(queue)) == (2, 0)
        runs = lab.instance.get_runs_count()
        send(queue, *[event("Completed")] * 2)
        lab.tick()
        assert (len(lab.jobs()), lab.instance.get_runs_count()) == (2, runs)


def test_lost_events_cost_time_only(tmp_path: Path, queue: EventQueue) -> None:
    """Without any event the interval is what it is without a queue, and all is done then."""
    with open_lab(tmp_path, speed=None) as lab:
        begun(lab, queue)
        end(lab)
        lab.interval_s = 0
        lab.restart()
        lab.tick()
        assert lab.states == {"file-0": RequestState.ANSWERED}


@pytest.mark.parametrize(
    "body",
    [
        event("InProgress"),
        event("Scheduled"),
        event("Completed", source="my.app"),
        event("Completed", **{"detail-type": "Other"}),
        event("Completed", detail=None),
        event("Completed", detail={}),
        "no JSON",
        "[]",
        "null",
        '"text"',
        "\u2028",
    ],
)
def test_messages_that_are_no_news(tmp_path: Path, queue: EventQueue, body: str) -> None:
    """A job that goes on, and anything else that is in the queue, wakes nobody and does not stay."""
    send(queue, body)
    (read,) = queue.read()
    assert not read.is_news
    queue.forget([read])
    assert waiting(queue) == 0


def test_an_unknown_status_is_a_reason_to_look(queue: EventQueue) -> None:
    """A status that AWS may add wakes the sensor, which asks Bedrock what it is."""
    send(queue, event("Archived"))
    assert [one.is_news for one in queue.read()] == [True]


def test_events_stay_until_they_had_their_effect(tmp_path: Path, queue: EventQueue) -> None:
    """While Bedrock is away an event is not lost: it comes again, and wakes the sensor then."""
    visible: Any = {"VisibilityTimeout": "0"}
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes=visible)
    with open_lab(tmp_path, speed=None) as lab:
        begun(lab, queue)
        end(lab)
        send(queue, event("Completed"))
        lab.emulator.set_faults(Faults(throttle_rate=1))
        lab.tick()
        assert "nothing done in this tick" in lab.skipped[SENSOR]
        assert waiting(queue) == 1
        lab.emulator.set_faults(Faults())
        lab.tick()
        assert (lab.states, waiting(queue)) == ({"file-0": RequestState.ANSWERED}, 0)


@pytest.mark.parametrize("away", ["no queue", "no server"])
def test_a_queue_that_is_away(tmp_path: Path, queue: EventQueue, monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    """A queue that cannot be read is told in each tick, and the interval holds."""
    with open_lab(tmp_path, speed=None) as lab:
        begun(lab, queue)
        end(lab)
        if away == "no queue":
            queue.client.delete_queue(QueueUrl=queue.url)
        else:
            monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
        lab.tick()
        assert "cannot be read" in lab.skipped[SENSOR]
        lab.cursors[SENSOR] = None
        lab.tick()
        assert lab.states == {"file-0": RequestState.ANSWERED}


def test_the_rule_sends_what_the_queue_reads(queue: EventQueue) -> None:
    """EventBridge, given the pattern of the template, sends these events to the queue and no others."""
    events: Any = boto3.client("events", region_name=REGION)
    arn = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="bedrock-batch", EventPattern=json.dumps(PATTERN))
    events.put_targets(Rule="bedrock-batch", Targets=[{"Id": "queue", "Arn": arn}])
    detail = {"batchJobName": "ba-mail-x", "status": "Completed"}
    for kind in ("Batch Inference Job State Change", "Model Customization Job State Change"):
        entry = {"Source": "aws.bedrock", "DetailType": kind, "Detail": json.dumps(detail)}
        events.put_events(Entries=[entry])
    assert [(one.job, one.is_news) for one in queue.read()] == [("ba-mail-x", True)]
