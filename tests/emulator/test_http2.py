"""HTTP/2 without TLS, as the JavaScript SDK speaks it to the runtime, on the port of HTTP/1.1."""

from typing import Any
from urllib.parse import quote

import httpx
from botocore.eventstream import EventStreamBuffer

from tests.emulator.lab import HAIKU, Lab
from tests.emulator.test_streams import MESSAGES


def test_http2_and_http1_get_the_same_answers(lab: Lab) -> None:
    """A job by its encoded ARN, refusals and a stream are the same over both; boto3 stays with HTTP/1.1."""
    arn = lab.create("a-job")
    lab.wait(arn)
    job, unknown = f"/model-invocation-job/{quote(arn, safe='')}", "/model-invocation-job/abcdefghijkl"
    found: list[Any] = []
    for http2 in (True, False):
        with httpx.Client(http1=not http2, http2=http2, base_url=lab.emulator.endpoint_url) as client:
            answers = [client.get(job), client.get(unknown)]
            answers.append(client.post(f"/model/{HAIKU}/converse-stream", json={"messages": MESSAGES}))
            answers.append(client.post(f"{job}/stop"))
            assert {answer.http_version for answer in answers} == {"HTTP/2" if http2 else "HTTP/1.1"}
            assert [answer.status_code for answer in answers] == [200, 404, 200, 400]
            buffer = EventStreamBuffer()
            buffer.add_data(answers[2].content)
            events = [event.headers[":event-type"] for event in buffer]
            assert (events[0], events[-1]) == ("messageStart", "metadata")
            found.append([answers[0].json(), answers[1].json(), answers[3].json(), events])
    assert found[0] == found[1]
