"""
Amazon Bedrock batch inference as Dagster assets: a model's answer beside every row of a big table.

What `__all__` lists is public: it changes only with a note in the changelog. All else may change at any time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_assets.components.batch import BatchInbox, BatchInference
    from bedrock_assets.components.build import build_batch_inference
    from bedrock_assets.config import InboxSpec, PipelineSpec
    from bedrock_assets.errors import (
        BedrockAssetsError,
        BedrockError,
        BedrockUnavailable,
        ConfigError,
        DataError,
        JobFailed,
        StoreError,
    )
    from bedrock_assets.operations.scan_table import scan_table
    from bedrock_assets.resources.bedrock import BedrockResource
    from bedrock_assets.resources.job_events import EventsResource
    from bedrock_assets.resources.regions import RegionConfig
    from bedrock_assets.resources.store import StoreResource
    from bedrock_assets.resources.tables import TableIOManager

__all__ = [
    "BatchInbox",
    "BatchInference",
    "BedrockAssetsError",
    "BedrockError",
    "BedrockResource",
    "BedrockUnavailable",
    "ConfigError",
    "DataError",
    "EventsResource",
    "InboxSpec",
    "JobFailed",
    "PipelineSpec",
    "RegionConfig",
    "StoreError",
    "StoreResource",
    "TableIOManager",
    "build_batch_inference",
    "scan_table",
]

_MODULES = {
    "BatchInbox": "components.batch",
    "BatchInference": "components.batch",
    "BedrockResource": "resources.bedrock",
    "EventsResource": "resources.job_events",
    "InboxSpec": "config",
    "PipelineSpec": "config",
    "RegionConfig": "resources.regions",
    "StoreResource": "resources.store",
    "TableIOManager": "resources.tables",
    "build_batch_inference": "components.build",
    "scan_table": "operations.scan_table",
}
"""Where the names are; all others are errors."""


def __getattr__(name: str) -> Any:
    # On demand, so that the emulator and the plain commands do not load Dagster.
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("bedrock-assets")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
