"""The models' answers, one format for each family. Rules make them up by default; real models may answer instead."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_assets.emulator.replies.base import Models, RecordError, Reply, ReplyFunction
    from bedrock_assets.emulator.replies.real_models import Endpoint
    from bedrock_assets.emulator.replies.registry import (
        FAMILIES,
        RULES,
        choose_models,
        is_supported,
        on_demand_function,
        reply_function,
    )

__all__ = [
    "FAMILIES",
    "RULES",
    "Endpoint",
    "Models",
    "RecordError",
    "Reply",
    "ReplyFunction",
    "choose_models",
    "is_supported",
    "on_demand_function",
    "reply_function",
]

_MODULES = {
    "Endpoint": "real_models",
    **dict.fromkeys(("Models", "RecordError", "Reply", "ReplyFunction"), "base"),
}
"""Where the names are; all others are in `registry`."""


def __getattr__(name: str) -> Any:
    # On demand, so that `bedrock-assets --help`, which lists the options of `emulate`, does not load every family.
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'registry')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
