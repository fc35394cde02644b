"""Fixtures: labs that are closed after the test."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.emulator import Emulator
from tests.emulator.lab import BUCKET, Lab, StartLab, connect, limits


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartLab]:
    """Start emulators on the test's own folder and database."""
    with ExitStack() as stack:

        def start_lab(*, region: str = "us-east-1", **settings: Any) -> Lab:
            folder = tmp_path / "store"
            (folder / BUCKET).mkdir(parents=True, exist_ok=True)
            options: dict[str, Any] = {"speed": 10_000, "limits": limits(), "db": tmp_path / "jobs.sqlite"} | settings
            emulator = stack.enter_context(Emulator(str(folder), **options))
            client = connect(emulator.endpoint_url, region)
            stack.callback(client.close)  # an open connection holds up the server's end
            return Lab(emulator, client, folder)

        yield start_lab


@pytest.fixture
def lab(start: StartLab) -> Lab:
    """An emulator whose jobs take some milliseconds."""
    return start()


@pytest.fixture(scope="module")
def still_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """An emulator that a module shares, for requests that are refused and change nothing."""
    folder = tmp_path_factory.mktemp("still")
    (folder / "store" / BUCKET).mkdir(parents=True)
    with Emulator(str(folder / "store"), folder / "jobs.sqlite") as emulator:
        yield Lab(emulator, connect(emulator.endpoint_url), folder / "store")


@pytest.fixture
def slow_lab(start: StartLab) -> Lab:
    """An emulator in real time, whose jobs stay as they are for the length of a test."""
    return start(speed=1)
