"""Where rows come from. A new source is a file here, a key of `SourceSpec`, and a line in `open_source`."""

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.sources.base import Source
from bedrock_assets.sources.chitchat import Chitchat
from bedrock_assets.sources.files import Files
from bedrock_assets.sources.huggingface import HuggingFace

__all__ = ["Source", "open_source"]


def open_source(spec: SourceSpec) -> Source:
    """The source that a spec names; nothing is read yet."""
    if spec.huggingface:
        return HuggingFace(spec.huggingface)
    if spec.chitchat:
        return Chitchat(spec.chitchat)
    return Files(spec.path or "", dict(spec.dtypes))
