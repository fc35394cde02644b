"""Amazon Bedrock batch inference as Dagster assets: a model's answer beside every row of a big table."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_assets.components.batch import BatchInbox, BatchInference

__all__ = ["BatchInbox", "BatchInference"]


def __getattr__(name: str) -> Any:
    # On demand, so that the emulator and the plain commands do not load Dagster.
    if name in __all__:
        from bedrock_assets.components import batch as component

        return getattr(component, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
