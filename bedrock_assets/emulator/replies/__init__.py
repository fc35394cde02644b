"""The models' answers, one format for each family. Rules make them up by default; real models may answer instead."""

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
