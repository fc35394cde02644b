"""
Where rows come from: files, databases, tables, datasets, other pipelines, and assets.

A new source is a file here, a key of `SourceSpec` and its `KINDS`, and a line in `_OPENERS`.
"""

import os.path
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bedrock_assets.config import SourceSpec
from bedrock_assets.sources.asset import AssetRows, Value
from bedrock_assets.sources.base import BATCH_ROWS, Limited, Source
from bedrock_assets.sources.chitchat import Chitchat
from bedrock_assets.sources.files import Files
from bedrock_assets.sources.huggingface import HuggingFace
from bedrock_assets.sources.sql import Query
from bedrock_assets.sources.table_formats import Delta, Iceberg
from bedrock_assets.sources.upstream import Upstream
from bedrock_assets.sources.whole_files import WholeFiles
from bedrock_assets.storage import Store

__all__ = ["BATCH_ROWS", "AssetRows", "Files", "Limited", "Source", "Value", "located", "open_source"]


HERE = Path()
"""The current folder."""


def _path(spec: SourceSpec, folder: Path) -> Files:
    return Files(located(spec.path or "", folder), dict(spec.dtypes))


def _asset(spec: SourceSpec, folder: Path, _: Store | None) -> Source:
    return AssetRows("/".join(spec.asset or ()), (_path(spec, folder),) if spec.path else ())


_OPENERS: dict[str, Callable[[Any, Path, Store | None], Source]] = {
    "asset": _asset,
    "path": lambda spec, folder, _: _path(spec, folder),
    "files": lambda spec, folder, _: WholeFiles(located(spec.files, folder)),
    "sql": lambda spec, folder, _: Query(spec.sql, folder),
    "delta": lambda spec, folder, _: Delta(spec.delta, located(spec.delta.path, folder)),
    "iceberg": lambda spec, *_: Iceberg(spec.iceberg),
    "huggingface": lambda spec, *_: HuggingFace(spec.huggingface),
    "chitchat": lambda spec, *_: Chitchat(spec.chitchat),
    "pipeline": lambda spec, _, store: Upstream(spec.pipeline, store),
}
"""By kind; an asset comes first, as it may have a path."""


def open_source(spec: SourceSpec, store: Store | None = None, folder: Path = HERE) -> Source:
    """
    The source that a spec names; reads nothing yet.

    Args:
        store: Where the tables of other pipelines are.
        folder: Where relative paths start.
    """
    kind = next(kind for kind in _OPENERS if getattr(spec, kind) is not None)
    return _OPENERS[kind](spec, folder, store)


def located(path: str, folder: Path) -> str:
    """A local path from a folder; a URL, and no path at all, as it is."""
    return path if "://" in path or not path else os.path.normpath(folder / path)
