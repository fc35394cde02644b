"""Amazon Bedrock batch inference as Dagster assets: a model's answer beside every row of a big table."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_assets.components.batch import BatchInbox, BatchInference
    from bedrock_assets.operations.scan_table import scan_table
    from bedrock_assets.resources.tables import TableIOManager

__all__ = ["BatchInbox", "BatchInference", "TableIOManager", "scan_table"]

_MODULES = {
    "BatchInbox": "components.batch",
    "BatchInference": "components.batch",
    "TableIOManager": "resources.tables",
    "scan_table": "operations.scan_table",
}


def __getattr__(name: str) -> Any:
    # On demand, so that the emulator and the plain commands do not load Dagster.
    if name in _MODULES:
        return getattr(import_module(f"bedrock_assets.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
