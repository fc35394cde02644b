"""Fixtures: labs that are closed after the test, with their buckets in folders or in S3."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bedrock_assets.emulator import Emulator
from tests.emulator.lab import BUCKET, Lab, StartLab, connect, limits
from tests.emulator.openai_server import Server, openai_server
from tests.emulator.worlds import S3, Folders, World

BOTH_WORLDS = ("test_behaviour", "test_faults", "test_jobs", "test_output", "test_restart")
"""Modules whose tests run on folders and on S3; the others never touch a bucket."""

S3_SERVERS = ("moto", pytest.param("seaweedfs", marks=pytest.mark.slow))
"""moto's server always, and SeaweedFS, whose tests take twice as long, with `-m slow`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of some modules in both worlds."""
    if "world" in metafunc.fixturenames:
        both = metafunc.module.__name__.rsplit(".", 1)[-1] in BOTH_WORLDS
        metafunc.parametrize("world", ["folders", *S3_SERVERS] if both else ["folders"], indirect=True)


@pytest.fixture
def s3(moto: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """moto's S3 server, and for this test the settings by which it is found."""
    _point_at(moto, monkeypatch)
    return moto


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty place for buckets with one bucket in it."""
    if request.param == "folders":
        here: World = Folders(tmp_path / "store")
        here.create_bucket(BUCKET)
        yield here
        return
    server: S3 = request.getfixturevalue(request.param)
    _point_at(server, monkeypatch)
    server.create_bucket(BUCKET)
    yield server
    server.clear()


@pytest.fixture
def start(tmp_path: Path, world: World) -> Iterator[StartLab]:
    """Start emulators on the test's own buckets and database."""
    with ExitStack() as stack:

        def start_lab(*, region: str = "us-east-1", **settings: Any) -> Lab:
            options: dict[str, Any] = {"speed": 10_000, "limits": limits(), "any_model": True} | settings
            emulator = stack.enter_context(Emulator(world.store, **{"db": tmp_path / "jobs.sqlite"} | options))
            client = connect(emulator.endpoint_url, region)
            stack.callback(client.close)  # an open connection holds up the server's end
            return Lab(emulator, client, world)

        yield start_lab


@pytest.fixture
def lab(start: StartLab) -> Lab:
    """An emulator whose jobs take some milliseconds."""
    return start()


@pytest.fixture(scope="module")
def still_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """An emulator that a module shares, for requests that are refused and change nothing."""
    folder = tmp_path_factory.mktemp("still")
    world = Folders(folder / "store")
    world.create_bucket(BUCKET)
    with Emulator(world.store, folder / "jobs.sqlite", any_model=True) as emulator:
        yield Lab(emulator, connect(emulator.endpoint_url), world)


@pytest.fixture
def slow_lab(start: StartLab) -> Lab:
    """An emulator in real time, whose jobs stay as they are for the length of a test."""
    return start(speed=1)


@pytest.fixture
def stepped_lab(start: StartLab) -> Lab:
    """An emulator whose clock the test advances."""
    return start(stepped=True)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of models."""
    with openai_server() as running:
        yield running


def _point_at(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
