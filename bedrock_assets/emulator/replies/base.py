"""What a reply is made of, and what a family of models has to provide."""

from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Prompt:
    """The text of a request, whatever its family."""

    user: list[str]
    """Text blocks of the user's messages, in order."""
    system: str = ""
    max_tokens: int = 512
    schema: JsonObject | None = None
    """The JSON schema that the answer has to conform to, when the request asks for one."""
    turns: tuple[tuple[str, str], ...] = ()
    """(role, text) of the messages in order, where the family has messages."""
    sampling: JsonObject = field(default_factory=dict[str, Json])
    """`temperature`, `top_p` and `stop` where the request sets them; only real models look at them."""

    @property
    def input_tokens(self) -> int:
        """Tokens of everything the model reads."""
        return sum(count_tokens(text) for text in (*self.user, self.system) if text) or 1


@dataclass(frozen=True)
class Completion:
    """The answer to a prompt."""

    text: str
    truncated: bool
    """Whether max_tokens cut it short."""
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Models:
    """Who answers: rules, or real models."""

    complete: Callable[[Prompt], Completion]
    """Answers a prompt; raises `RecordError`."""
    embed: Callable[[str, int, bool], str]
    """(text, dimensions, normalize) to a vector as the inside of a JSON array; raises `RecordError`."""
    concurrency: int = 1
    """Records that may be answered at once, more than 1 where answering is waiting."""


Family: TypeAlias = Callable[[JsonObject, str, Models], Reply]
"""From (modelInput, modelId, who answers) to the reply in the family's format; raises `RecordError`."""

ReplyFunction: TypeAlias = Callable[[JsonObject, str], Reply]
"""A family with its models: from (modelInput, modelId) to the reply; raises `RecordError`."""


def sampling(settings: JsonObject) -> JsonObject:
    """What a request says of temperature, top_p and stop sequences, under OpenAI's names."""
    names = {"top_p": "topP", "stop": "stop_sequences", "temperature": "temperature"}
    found: JsonObject = {}
    for name, other in names.items():
        value = settings.get(name, settings.get(other, settings.get("stopSequences") if name == "stop" else None))
        found |= {} if value is None else {name: value}
    return found
