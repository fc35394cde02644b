"""What a reply is made of, and what a family of models has to provide."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bedrock_assets.emulator.jsontypes import Json, JsonObject


@dataclass(frozen=True)
class Reply:
    """A model's answer to one record."""

    body: str
    """`modelOutput` as JSON text: an embedding's digits are written once and used twice."""
    input_tokens: int
    output_tokens: int


class RecordError(Exception):
    """A modelInput that the model refuses; it becomes the record's error line."""

    def __init__(self, message: str, code: int | str = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


ReplyFunction: TypeAlias = Callable[[JsonObject, str], Reply]
"""From (modelInput, modelId) to the reply; raises `RecordError`, depends on nothing else."""


def count_tokens(text: str) -> int:
    """About how many tokens a text has: four characters each, at least 1."""
    return max(1, len(text) // 4)


def positive_int(value: Json, name: str) -> int:
    """
    A whole number of at least 1.

    Raises:
        RecordError: It is none; the message names it.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecordError(f"{name}: Input should be a valid integer")
    if value < 1:
        raise RecordError(f"{name}: must be greater than or equal to 1")
    return value


def optional_int(value: Json, name: str, default: int) -> int:
    """`positive_int`, or *default* when the member is absent."""
    return default if value is None else positive_int(value, name)
