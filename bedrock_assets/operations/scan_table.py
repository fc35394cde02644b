"""Open the table of a pipeline in a script or a notebook, without Dagster's machinery."""

import os
from pathlib import Path

import polars as pl

from bedrock_assets.pipeline.project import find_project
from bedrock_assets.resources.store import LOCAL_STORE, STORE, StoreResource, store_resource
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store


def scan_table(pipeline: str, store: str | Path | Store | StoreResource | None = None) -> pl.LazyFrame:
    """
    Open the table of a pipeline: every input column, then the answer's, in the order of the input.

    The frame has one publication, that of the call, or raises: no query sees rows of two builds. Only the columns and
    files that a query needs are read.

    Args:
        pipeline: Its name, such as `call_summaries`.
        store: Folder or `s3://bucket/prefix` of the store; access to it (Region, endpoint, key) is as the environment
            says. By default the store that `BEDROCK_ASSETS_STORE` names, else that of a local stack in the current
            folder or in the Dagster project around it.

    Raises:
        ConfigError: There is no store, no pipeline of this name in it, or no table of it yet.
        StoreError: The store cannot be read.
        StoreConflict: A build of the table is under way. A query raises it, too, once a later build has replaced a
            file that it needs; call `scan_table` again.
    """
    return Publication.latest(_open(store), pipeline).scan()


def _open(store: str | Path | Store | StoreResource | None) -> Store:
    if isinstance(store, Store):
        return store
    if isinstance(store, StoreResource):
        return store.open()
    return store_resource(_local_store() if store is None else str(store)).open()


def _local_store() -> str | None:
    """The store of a local stack, if the environment names none; None to leave it to the environment."""
    if os.environ.get(STORE):
        return None
    folder = find_project().folder
    elsewhere = None if folder is None or Path(LOCAL_STORE).is_dir() else folder / LOCAL_STORE
    return str(elsewhere) if elsewhere and elsewhere.is_dir() else None
