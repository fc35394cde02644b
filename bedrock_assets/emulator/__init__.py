"""
An emulator of Amazon Bedrock batch inference that unmodified AWS clients call.

It answers Create, Get, List and StopModelInvocationJob: it reads the jobs' JSONL input and writes output and
manifest as Bedrock does, to a folder or to S3. On the same port it answers InvokeModel and Converse, whole or as
streams, CountTokens, the lists of models and profiles, the tags of jobs, and Service Quotas with the batch quotas that
it enforces.

    from bedrock_assets.emulator import Emulator

    with Emulator("./buckets", Path("jobs.sqlite"), speed=60) as emulator:    # s3://calls/x is ./buckets/calls/x
        client = boto3.client("bedrock", endpoint_url=emulator.endpoint_url)  # or AWS_ENDPOINT_URL_BEDROCK

`with emulator() as e:` is the same in a
temporary folder with a stepped clock, and sets the environment.

A bucket is a folder that must exist; the store `s3://` is real S3 or a server that speaks its protocol. Jobs live in
the SQLite file, so a killed emulator continues where it was. `settings` lists every setting, `pytest_plugin` has
fixtures, and docs/emulator.md says what is emulated and what is uncertain.

Besides the API:

    GET /                     status page
    GET /health               200
    GET, PUT /admin/faults    read and replace `Faults`
    GET, POST /admin/clock    read the clock; `{"advance_s": 60}` advances a stepped one and waits for the jobs
    GET /admin/invocations    what InvokeModel and Converse answered, by model (`Emulator.invocations()`)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_assets.emulator.faults import Faults
    from bedrock_assets.emulator.service import Emulator, serve
    from bedrock_assets.emulator.session import emulator

__all__ = ["Emulator", "Faults", "emulator", "serve"]


def __getattr__(name: str) -> Any:
    # On demand: `emulate --help` reads the settings, and must not load the server or botocore.
    if name in __all__:
        from bedrock_assets.emulator import service, session

        return getattr(session if name == "emulator" else service, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
