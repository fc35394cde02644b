"""
Where rows come from: files, datasets, tables of other pipelines, and assets.

A new source is a file here, a key of `SourceSpec`, and a line in `open_source`.
"""

from bedrock_assets.config import SourceSpec
from bedrock_assets.sources.asset import AssetRows, Value
from bedrock_assets.sources.base import BATCH_ROWS, Source
from bedrock_assets.sources.chitchat import Chitchat
from bedrock_assets.sources.files import Files
from bedrock_assets.sources.huggingface import HuggingFace
from bedrock_assets.sources.upstream import Upstream
from bedrock_assets.storage import Store

__all__ = ["BATCH_ROWS", "AssetRows", "Files", "Source", "Value", "open_source"]


def open_source(spec: SourceSpec, store: Store | None = None) -> Source:
    """
    The source that a spec names; reads nothing yet.

    Args:
        store: Where the tables of other pipelines are.
    """
    if spec.asset:
        return AssetRows("/".join(spec.asset), (Files(spec.path, dict(spec.dtypes)),) if spec.path else ())
    if spec.pipeline:
        return Upstream(spec.pipeline, store)
    if spec.huggingface:
        return HuggingFace(spec.huggingface)
    if spec.chitchat:
        return Chitchat(spec.chitchat)
    return Files(spec.path or "", dict(spec.dtypes))
