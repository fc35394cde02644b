"""What a model family is: how it writes a request and reads an answer, as polars expressions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from bedrock_assets.config import EmbeddingTask, TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families.json_template import Tree
from bedrock_assets.models import Model, SchemaMode

Task = TextTask | EmbeddingTask
Kind = Literal["text", "embedding"]
UNKNOWN = Model.unknown("")
TOOL = "answer"
"""Name of the tool that a model has to call for a structured answer."""


@dataclass(frozen=True)
class Image:
    """One image of each row."""

    base64: pl.Expr
    """String expression."""
    format: pl.Expr
    """String expression: `jpeg`, `png`, `gif` or `webp`."""


@dataclass(frozen=True)
class Document:
    """One document of each row."""

    data: pl.Expr
    """String expression: base64, or the text itself where the family takes text as it is."""
    format: pl.Expr
    """String expression: `pdf`, `txt`, `csv`, `html`, `md`, `doc`, `docx`, `xls` or `xlsx`."""
    name: str
    """Neutral: a model could take the name of a file as an instruction."""


@dataclass(frozen=True)
class AnswerFormat:
    """How a family asks for a structured answer."""

    mode: SchemaMode
    """`native` or `tool` for the family to act on; with `prompt` the prompt itself asks."""
    schema: Mapping[str, Any]
    """JSON schema of an object."""


@dataclass(frozen=True)
class Prompt:
    """The rendered parts of a request: String expressions, one value per row."""

    text: pl.Expr
    system: pl.Expr | None = None
    images: tuple[Image, ...] = ()
    form: AnswerFormat | None = None
    facts: Model = UNKNOWN
    """What is known of the model."""
    documents: tuple[Document, ...] = ()

    def schema_for(self, mode: SchemaMode) -> Mapping[str, Any] | None:
        """The schema, if this is the mode to ask for it."""
        return self.form.schema if self.form and self.form.mode == mode else None


@dataclass(frozen=True)
class Family:
    """A request and response format shared by a set of models; the catalogue of models says which."""

    name: str
    kind: Kind
    request: Callable[[Prompt, Any], Tree]
    """Makes the `modelInput` from a prompt and its task."""
    output: pl.Struct
    """The fields of `modelOutput` that are read; all others are skipped."""
    answer: Mapping[str, pl.Expr]
    """Expressions over column `modelOutput`, see `text_answer` and `embedding_answer`."""
    tool: tuple[str, str] | None = None
    """For families that return a tool's input as an object of any shape, which has no column type: text that marks a
    line with a tool call, and the JSONPath from the line to the input. Replaces `answer["tool"]`."""
    parameters: tuple[str, ...] = ("stop_sequences",)
    """Keys of a text task that the request has a place for, beside `max_tokens`, `temperature` and `top_p`."""
    check: Callable[[Any, Model], None] | None = None
    """Raises ConfigError for values that the model would refuse."""
    invocation_type: Literal["InvokeModel", "Converse"] = "InvokeModel"
    truncated: tuple[str, ...] = ()
    """Stop reasons that mean a token limit cut the answer short."""
    thoughts: Literal["tagged", "opened"] | None = None
    """How thoughts stand in a text: in tags before the answer, or opened by the prompt, so that only their end shows.
    They are cut off; the output file keeps them."""
    text_parts: tuple[str | int, ...] = ()
    """Path in `modelOutput` to a text that may also be a list of parts, whose texts belong together."""
    dimensions: int | None = None
    """Default length of a vector."""
    special: str | None = None
    """For raw prompts: regular expression for the tokens of the chat template. A row's text with such a token would end
    its turn and begin another. Two groups: the token's first character, and the rest."""
    images: bool = False
    """Whether a request may hold images."""
    documents: tuple[str, ...] = ()
    """Formats of the documents that a request may hold."""
    modes: tuple[SchemaMode, ...] = ("prompt",)
    """Ways to ask for a structured answer that the request has a place for."""


def sampling(
    task: TextTask, *, max_tokens: str = "max_tokens", top_p: str = "top_p", stop: str | None = "stop"
) -> dict[str, Any]:
    """
    The sampling parameters under a family's own names; unset ones are None.

    Args:
        stop: None if the family has no stop sequences.
    """
    values = {max_tokens: task.max_tokens, "temperature": task.temperature, top_p: task.top_p}
    return values | ({stop: list(task.stop_sequences) or None} if stop else {})


def text_answer(
    text: pl.Expr,
    *,
    stop_reason: pl.Expr,
    tokens: tuple[pl.Expr, ...],
    tool: pl.Expr | None = None,
    n_answers: pl.Expr | None = None,
    refused: tuple[str, ...] = (),
    refusal: pl.Expr | None = None,
) -> dict[str, pl.Expr]:
    """
    Expressions that read a text answer.

    Args:
        text: String, null if there is no text.
        tokens: Input and output tokens and, if the input leaves them out, those that were read from a cache and written
            to one; Int64, null where the answer does not tell them.
        tool: String, the input of the called tool as JSON; of several calls a list of them.
        n_answers: Number of answers to choose from, if the format allows several.
        refused: Stop reasons that mean the model refused to answer.
        refusal: String, what the model says instead of an answer, if the format has a field for it.

    Returns:
        `response` String, `tool` String, `refusal` String (why the model refused, null if it did not), `n_answers`
        UInt32, and what `_usage` returns.
    """
    null = pl.lit(None, pl.String)
    stopped = pl.when(stop_reason.is_in(refused)).then(pl.format("the model stopped with {}", stop_reason))
    return {
        "response": text,
        "tool": null if tool is None else tool,
        "refusal": stopped if refusal is None else pl.coalesce(refusal, stopped),
        "n_answers": pl.lit(1, pl.UInt32) if n_answers is None else n_answers,
        **_usage(stop_reason, *tokens),
    }


def _usage(stop_reason: pl.Expr, n_input: pl.Expr, n_output: pl.Expr, *cached: pl.Expr) -> dict[str, pl.Expr]:
    """
    `stop_reason` String; `input_tokens` (those of a cache included), `output_tokens`, `cache_read_tokens` and
    `cache_write_tokens` Int64, null where they are not told.
    """
    unknown = pl.lit(None, pl.Int64)
    read, write = cached or (unknown, unknown)
    if cached:
        n_input = n_input + read.fill_null(0) + write.fill_null(0)
    usage = {"stop_reason": stop_reason, "input_tokens": n_input, "output_tokens": n_output}
    return usage | {"cache_read_tokens": read, "cache_write_tokens": write}


def embedding_answer(embedding: pl.Expr, input_tokens: pl.Expr | None) -> dict[str, pl.Expr]:
    """
    Expressions that read a vector.

    Returns:
        `embedding` List(Float32), null if it is empty or has anything but finite numbers, and what `_usage` returns.
    """
    n_input = pl.lit(None, pl.Int64) if input_tokens is None else input_tokens
    is_number = embedding.list.eval(pl.element().is_finite().fill_null(value=False)).list.all()
    return {
        "embedding": pl.when(is_number & (embedding.list.len() > 0)).then(embedding),
        **_usage(pl.lit(None, pl.String), n_input, pl.lit(0, pl.Int64)),
    }


def joined_text(blocks: pl.Expr) -> pl.Expr:
    """The joined text of a list of content blocks (structs with a nullable `text`), null if no block has text."""
    texts = blocks.list.eval(pl.element().struct.field("text").drop_nulls())
    return pl.when(texts.list.len() > 0).then(texts.list.join(""))


def at(*path: str) -> pl.Expr:
    """A member of `modelOutput`, by its path."""
    member = pl.col("modelOutput")
    for name in path:
        member = member.struct.field(name)
    return member


def embedding_check(
    model: str, dimensions: tuple[int, ...], *, only_normalized: bool = True
) -> Callable[[EmbeddingTask, Model], None]:
    """
    A family's `check` of an embedding task.

    Args:
        model: Name of the model, for messages.
        dimensions: Vector lengths it offers.
        only_normalized: Whether it always scales vectors to length 1.
    """

    def check(task: EmbeddingTask, _: Model) -> None:
        if task.dimensions is not None and task.dimensions not in dimensions:
            raise ConfigError(f"dimensions: {task.dimensions} is not offered by {model}; choose one of {dimensions}")
        if only_normalized and not task.normalize:
            raise ConfigError(f"normalize: {model} always normalizes its vectors; remove `normalize: false`")

    return check
