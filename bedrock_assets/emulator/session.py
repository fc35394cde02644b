"""An emulator for one block of code, with temporary buckets and the environment by which AWS clients find it."""

import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bedrock_assets.emulator.service import Emulator
from bedrock_assets.emulator.settings import ENDPOINT_VARIABLES

_SESSION: dict[str, str | None] = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    **dict.fromkeys(("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")),
}
"""Made-up credentials, so that code under test never signs with real ones; None unsets a variable."""


@contextmanager
def emulator(**settings: Any) -> Generator[Emulator]:
    """
    Run an emulator that the AWS clients made inside the block use, and stop it after the block.

    Its buckets are temporary folders that `Emulator.bucket` makes; its clock moves only by `Emulator.advance`, and one
    record is enough for a job.

    Args:
        settings: Fields of `EmulatorSettings` that replace these.

    Raises:
        ValueError: A setting is unknown or out of bounds.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bedrock-emulator-", ignore_cleanup_errors=True)))
        chosen: dict[str, Any] = {"store": str(folder), "db": folder / "jobs.sqlite", "stepped": True, "min_records": 1}
        running = stack.enter_context(Emulator(**(chosen | settings)))
        stack.enter_context(clients_use(running.endpoint_url))
        yield running


@contextmanager
def clients_use(endpoint_url: str) -> Generator[None]:
    """Set the environment so that AWS clients made inside the block call this endpoint, with made-up credentials."""
    changes = {**_SESSION, **dict.fromkeys(ENDPOINT_VARIABLES, endpoint_url)}
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
