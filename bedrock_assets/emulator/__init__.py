"""
An emulator of Amazon Bedrock batch inference: unmodified AWS clients run against it.

It answers CreateModelInvocationJob, GetModelInvocationJob, ListModelInvocationJobs and StopModelInvocationJob,
reads the jobs' JSONL input, and writes output and manifest as Bedrock does, to a directory or to S3. InvokeModel
and Converse (bedrock-runtime) answer on the same port, with what a batch record would get; so do the tags of jobs
and Service Quotas, which lists the batch quotas that are enforced.

    from bedrock_assets.emulator import Emulator

    with Emulator("./buckets", Path("jobs.sqlite"), speed=60) as emulator:    # s3://calls/x is ./buckets/calls/x
        client = boto3.client("bedrock", endpoint_url=emulator.endpoint_url)  # or AWS_ENDPOINT_URL_BEDROCK

A bucket is a folder that must exist. Give `store="s3://"` for real S3 or a server that speaks its protocol.
Jobs live in the SQLite file: a killed emulator goes on where it was. `clock` lists how long each status lasts, and
has a clock that only `advance` moves; `replies` says who answers and how; `pytest_plugin` has fixtures.

Besides the API:

    GET /                     a page for people
    GET /health               200
    GET, PUT /admin/faults    read and replace `Faults`
    GET, POST /admin/clock    read the clock; `{"advance_s": 60}` moves a stepped one and waits for the jobs
    GET /admin/invocations    what InvokeModel and Converse answered, by model (`Emulator.invocations()`)
"""

from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.service import Emulator, serve

__all__ = ["Emulator", "Faults", "serve"]
