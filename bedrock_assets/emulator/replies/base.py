"""Prompts, completions and replies, and what a family of models provides."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from bedrock_assets.emulator.jsontypes import Json, JsonObject, dump


@dataclass(frozen=True)
class Reply:
    """A model's answer to one record."""

    body: str
    """`modelOutput` as JSON text, so that an embedding is formatted once."""
    input_tokens: int
    output_tokens: int


class RecordError(Exception):
    """A modelInput that the model refuses; it becomes the record's error line."""

    def __init__(self, message: str, code: int | str = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def count_tokens(text: str) -> int:
    """Approximate tokens of a text: one per four characters, at least 1."""
    return max(1, len(text) // 4)


@dataclass(frozen=True)
class Prompt:
    """The text of a request, the same for all families."""

    user: list[str]
    """Text blocks of the user's messages, in order."""
    system: str = ""
    max_tokens: int = 512
    schema: JsonObject | None = None
    """JSON schema that the answer must conform to, if the request has one."""
    turns: tuple[tuple[str, str], ...] = ()
    """(role, text) of the messages in order, if the family has messages."""
    sampling: JsonObject = field(default_factory=dict[str, Json])
    """`temperature`, `top_p` and `stop` if the request sets them; only real models use the first two."""
    thinks: bool = False
    """Whether the model thinks before it answers."""

    @property
    def input_tokens(self) -> int:
        """Tokens of all text that the model reads."""
        return sum(count_tokens(text) for text in (*self.user, self.system) if text) or 1


@dataclass(frozen=True)
class Completion:
    """The answer to a prompt."""

    text: str
    truncated: bool
    """Whether max_tokens cut the text."""
    input_tokens: int
    output_tokens: int
    stop: str | None = None
    """The stop sequence before which the text ends, if one was met."""
    thinking: str | None = None
    """What the model thought before; its tokens are among `output_tokens`. None if it did not think."""


def obey_stops(prompt: Prompt, answer: Completion) -> Completion:
    """The answer up to the first of the prompt's stop sequences that it contains."""
    wanted = prompt.sampling.get("stop")
    stops = [stop for stop in (wanted if isinstance(wanted, list) else [wanted]) if isinstance(stop, str) and stop]
    first = min((stop for stop in stops if stop in answer.text), key=answer.text.index, default=None)
    if first is None:
        return answer
    text = answer.text.partition(first)[0]
    n_tokens = count_tokens((answer.thinking or "") + text)
    return replace(answer, text=text, truncated=False, output_tokens=n_tokens, stop=first)


@dataclass(frozen=True)
class Models:
    """What answers: rules, or real models."""

    complete: Callable[[Prompt], Completion]
    """Answers a prompt; raises `RecordError`."""
    embed: Callable[[str, int, bool], str]
    """(text, dimensions, normalize) to a vector as the inside of a JSON array; raises `RecordError`."""
    concurrency: int = 1
    """Records that may be answered at once; more than 1 if answering is mostly waiting."""
    strict: bool = True
    """Whether a request is held against all that its family documents, as AWS does."""


Family: TypeAlias = Callable[[JsonObject, str, Models], Reply]
"""(modelInput, modelId, models) to the reply in the family's format; raises `RecordError`."""

ReplyFunction: TypeAlias = Callable[[JsonObject, str], Reply]
"""A family with its models: (modelInput, modelId) to the reply; raises `RecordError`."""


def sampling(settings: JsonObject) -> JsonObject:
    """Temperature, top_p and stop sequences of a request, under OpenAI's names."""
    names = {"top_p": "topP", "stop": "stop_sequences", "temperature": "temperature"}
    renamed: JsonObject = {}
    for name, other in names.items():
        value = settings.get(name, settings.get(other, settings.get("stopSequences") if name == "stop" else None))
        renamed |= {} if value is None else {name: value}
    return renamed


def json_reply(body: JsonObject, answer: Completion) -> Reply:
    """A reply with *body* as its JSON, and the tokens of *answer*."""
    return Reply(dump(body), answer.input_tokens, answer.output_tokens)
