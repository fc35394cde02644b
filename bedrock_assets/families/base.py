"""What a model family is: how a request is built, and how an answer is read, with polars expressions."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from bedrock_assets.config.pipeline import SchemaMode
from bedrock_assets.config.task import EmbeddingTask, TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families.jsontext import Tree

Task = TextTask | EmbeddingTask
Kind = Literal["text", "embedding"]
TOOL = "answer"
"""Name of the tool that a model is made to call for a structured answer."""


@dataclass(frozen=True)
class Image:
    """One image of each row."""

    base64: pl.Expr
    """String expression."""
    format: pl.Expr
    """String expression: `jpeg`, `png`, `gif` or `webp`."""


@dataclass(frozen=True)
class AnswerFormat:
    """The form an answer is to have, as a family is to ask for it."""

    mode: SchemaMode
    """`native` or `tool`; where the prompt itself asks, the family need not know."""
    schema: Mapping[str, Any]
    """JSON schema of an object."""


@dataclass(frozen=True)
class Prompt:
    """The rendered parts of a request: String expressions, one value a row."""

    text: pl.Expr
    system: pl.Expr | None = None
    images: tuple[Image, ...] = ()
    form: AnswerFormat | None = None
    model: str = ""
    """Id of the model, without Region prefix."""

    def schema_for(self, mode: SchemaMode) -> Mapping[str, Any] | None:
        """The schema to ask for in that way, None if it is asked for in another way or not at all."""
        return self.form.schema if self.form and self.form.mode == mode else None


@dataclass(frozen=True)
class Family:
    """A request and response format shared by a set of models."""

    name: str
    kind: Kind
    models: str
    """Regular expression over model ids without Region prefix, e.g. `anthropic\\.claude.*`."""
    request: Callable[[Prompt, Any], Tree]
    """From a prompt and its task to the `modelInput`."""
    output: pl.Struct
    """The part of `modelOutput` that is read; anything else in it is skipped."""
    answer: Mapping[str, pl.Expr]
    """Expressions over column `modelOutput`, see `text_answer` and `embedding_answer`."""
    tool: tuple[str, str] | None = None
    """Where the input of a tool is an object, which may have any shape and so no column type: a text that a line with a
    call has, and the JSONPath from the line to the input. `answer["tool"]` is not looked at then."""
    check: Callable[[Any], None] | None = None
    """Raises ConfigError for parameters that the family would refuse."""
    invocation_type: Literal["InvokeModel", "Converse"] = "InvokeModel"
    truncated: tuple[str, ...] = ()
    """Stop reasons of an answer that a limit on tokens cut short."""
    dimensions: int | None = None
    """Length of a vector where the task names none."""
    special: str | None = None
    """Regular expression over the tokens of the chat template, for a request that holds one raw prompt: a row's text
    that has one would end its turn and begin another. Two groups: a token's first character, and the rest."""
    images: str = r"(?!)"
    """Regular expression, as `models`, over the models whose request may hold images."""
    modes: Mapping[SchemaMode, str] = field(default_factory=lambda: {"prompt": ".*"})
    """The ways to ask for a structured answer, the best first, each with the models (as in `models`) it is for."""


def sampling(task: TextTask, *, max_tokens: str, temperature: str, top_p: str, stop: str | None) -> dict[str, Any]:
    """The sampling parameters under a family's own names; unset ones are None."""
    values = {max_tokens: task.max_tokens, temperature: task.temperature, top_p: task.top_p}
    return values | ({stop: list(task.stop_sequences) or None} if stop else {})


def text_answer(
    text: pl.Expr,
    *,
    stop_reason: pl.Expr,
    tokens: tuple[pl.Expr, pl.Expr],
    tool: pl.Expr | None = None,
    refused: tuple[str, ...] = (),
    refusal: pl.Expr | None = None,
) -> dict[str, pl.Expr]:
    """
    How a text answer is read.

    Args:
        text: String, null where there is none.
        tokens: Of the input and of the output, Int64.
        tool: String, the input of the tool that was called, as JSON.
        refused: Stop reasons of a model that does not answer.
        refusal: String, what a model says instead of answering, where it has a place of its own.

    Returns:
        `response` String, `tool` String, `refusal` String (not null where the model refused, with what there is to
        say of it), `stop_reason` String, `input_tokens` and `output_tokens` Int64.
    """
    null = pl.lit(None, pl.String)
    word = pl.when(stop_reason.is_in(refused)).then(pl.format("the model stopped with {}", stop_reason))
    return {
        "response": text,
        "tool": null if tool is None else tool,
        "refusal": word if refusal is None else pl.coalesce(refusal, word),
        "stop_reason": stop_reason,
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
    }


def embedding_answer(embedding: pl.Expr, input_tokens: pl.Expr | None) -> dict[str, pl.Expr]:
    """How a vector is read: `embedding` List(Float32), null where it is no vector; `input_tokens` Int64."""
    return {
        "embedding": vector(embedding),
        "stop_reason": pl.lit(None, pl.String),
        "input_tokens": pl.lit(None, pl.Int64) if input_tokens is None else input_tokens,
        "output_tokens": pl.lit(0, pl.Int64),
    }


def joined_text(blocks: pl.Expr) -> pl.Expr:
    """The text of a list of content blocks (structs with a nullable `text`), null where no block has text."""
    texts = blocks.list.eval(pl.element().struct.field("text").drop_nulls())
    return pl.when(texts.list.len() > 0).then(texts.list.join(""))


def vector(values: pl.Expr) -> pl.Expr:
    """A list of numbers, null where it is empty or has a null or a number that is not finite in it."""
    usable = values.list.eval(pl.element().is_finite().fill_null(value=False)).list.all()
    return pl.when(usable & (values.list.len() > 0)).then(values)


def at(*path: str) -> pl.Expr:
    """A member of `modelOutput`, by the names that lead to it."""
    found = pl.col("modelOutput")
    for name in path:
        found = found.struct.field(name)
    return found


def require_dimensions(task: EmbeddingTask, offered: tuple[int, ...], model: str) -> None:
    """
    Raises:
        ConfigError: The model has no vectors of that length.
    """
    if task.dimensions is not None and task.dimensions not in offered:
        raise ConfigError(f"dimensions: {task.dimensions} is not offered by {model}; choose one of {offered}")


def require_always_normalized(task: EmbeddingTask, model: str) -> None:
    """
    Raises:
        ConfigError: Vectors of another length than 1 are asked for, of a model that cannot give them.
    """
    if not task.normalize:
        raise ConfigError(f"normalize: false is not offered by {model}; leave it out")


def refuse_task(model: str, family: Family, task: Task) -> None:
    """
    Args:
        model: Without Region prefix.

    Raises:
        ConfigError: The task is of another kind than the family, or has parameters it refuses.
    """
    wanted: Kind = "text" if isinstance(task, TextTask) else "embedding"
    if wanted != family.kind:
        raise ConfigError(
            f"model {model!r} ({family.name}) does {family.kind}, but the task is {wanted}; "
            f"choose a model for {wanted}, or write `task: {{{family.kind}: ...}}`"
        )
    if isinstance(task, TextTask) and task.images and not re.fullmatch(family.images, model):
        raise ConfigError(
            f"task.text.images: model {model!r} ({family.name}) takes no images here; leave them out, or choose a "
            "model of anthropic, nova, or one that takes images under `model_invocation_type: Converse`"
        )
    if family.check:
        family.check(task)
