"""Fixtures of all tests: a store on disk, and pipelines over it."""

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from bedrock_assets.pipeline import Pipeline
from bedrock_assets.store import Store
from tests.lab import MakePipeline, build_pipeline

# The machine's speed decides nothing; the same examples on every run, so that a failure is the change's own.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("repeatable")

# No test shall reach an account of the person who runs it.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store whose folder has a bucket's name."""
    return Store(str(tmp_path / "bucket"))


@pytest.fixture
def make_pipeline(tmp_path: Path) -> MakePipeline:
    """Pipelines over frames, written to the same file each time."""

    def make(frame: pl.DataFrame, **overrides: Any) -> Pipeline:
        path = tmp_path / "input.parquet"
        frame.write_parquet(path)
        return build_pipeline(path, **overrides)

    return make
