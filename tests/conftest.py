"""Fixtures of all tests: a store on disk, and pipelines over it."""

import gc
import os
import secrets
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.store import Store
from tests.emulator.worlds import REGION, S3
from tests.labs.stages import MakePipeline, build_pipeline

pytest_plugins = ["tests.labs.servers", "tests.labs.runs"]

# The machine's speed decides nothing; the same examples on every run, so that a failure is the change's own.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("repeatable")

# Four thousand items and all modules stay: to look for garbage among them took a tenth of the tests' time.
gc.set_threshold(50_000, 20, 20)

# No test shall reach an account of the person who runs it.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


ON_S3 = (
    *(
        "storage.test_store",
        "storage.test_publication",
        "storage.test_read_table",
        "table.test_join",
        "inbox.test_files",
    ),
    "resources.test_tables",
)
"""Modules whose tests of the fixture `store` run on a real S3 server too."""


STORE_BUCKET = "store-bucket"


def pytest_collection_finish() -> None:
    """Leave what was collected out of the search for garbage."""
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of some modules on both kinds of store."""
    if "store" in metafunc.fixturenames and metafunc.module.__name__.removeprefix("tests.") in ON_S3:
        metafunc.parametrize("store", ["folder", "s3"], indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store: a folder that has a bucket's name, or one on a real S3 server."""
    if getattr(request, "param", "folder") == "folder":
        return Store(str(tmp_path / "bucket"))
    return request.getfixturevalue("s3_store")


@pytest.fixture
def s3_store(seaweedfs: S3, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store: a prefix of its own on a real S3 server, which the environment names."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    # One bucket for all, as each takes volumes of the server; others that use the server may have deleted it.
    if STORE_BUCKET not in [bucket["Name"] for bucket in seaweedfs.client.list_buckets()["Buckets"]]:
        seaweedfs.create_bucket(STORE_BUCKET)
    return Store(f"s3://{STORE_BUCKET}/{secrets.token_hex(4)}/prefix", REGION, seaweedfs.url)


@pytest.fixture
def make_pipeline(tmp_path: Path) -> MakePipeline:
    """Pipelines over frames, written to the same file each time."""

    def make(frame: pl.DataFrame, **overrides: Any) -> Pipeline:
        path = tmp_path / "input.parquet"
        frame.write_parquet(path)
        return build_pipeline(path, **overrides)

    return make
