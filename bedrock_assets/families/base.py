"""What a model family is: how a request is built, and how an answer is read, both as polars expressions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from bedrock_assets.errors import ConfigError
from bedrock_assets.spec import EmbeddingTask, TextTask

Task = TextTask | EmbeddingTask
Kind = Literal["text", "embedding"]


@dataclass(frozen=True)
class Prompt:
    """The rendered parts of a request: String expressions, one value a row."""

    text: pl.Expr
    system: pl.Expr | None = None


@dataclass(frozen=True)
class Family:
    """A request and response format shared by a set of models."""

    name: str
    kind: Kind
    models: str
    """Regular expression over model ids without Region prefix, e.g. `anthropic\\.claude.*`."""
    request: Callable[[Prompt, Any], pl.Expr]
    """From a prompt and its task to a Struct expression, the `modelInput`."""
    output: pl.Struct
    """The part of `modelOutput` that is read; anything else in it is skipped."""
    answer: Mapping[str, pl.Expr]
    """Expressions over column `modelOutput`: `response` (String) or `embedding` (List(Float32)), `stop_reason`
    (String), `input_tokens` and `output_tokens` (Int64)."""
    check: Callable[[Any], None] | None = None
    """Raises ConfigError for parameters that the family would refuse."""
    invocation_type: Literal["InvokeModel", "Converse"] = "InvokeModel"


def constant(value: str | float | bool | list[str]) -> pl.Expr:
    """A literal for a request; a list of strings becomes one List(String) value."""
    return pl.lit(pl.Series([value], dtype=pl.List(pl.String))).first() if isinstance(value, list) else pl.lit(value)


def struct_of(fields: Mapping[str, pl.Expr | str | float | bool | list[str] | None]) -> pl.Expr:
    """A Struct of *fields* in their order; a None is left out, as a service expects of an optional field."""
    exprs = {
        name: value if isinstance(value, pl.Expr) else constant(value)
        for name, value in fields.items()
        if value is not None
    }
    return pl.struct([expr.alias(name) for name, expr in exprs.items()])


def one(value: pl.Expr) -> pl.Expr:
    """A list of one element per row."""
    return pl.concat_list(value)


def sampling(task: TextTask, *, max_tokens: str, temperature: str, top_p: str, stop: str) -> dict[str, Any]:
    """The sampling parameters under a family's own names, unset ones left out."""
    stops = list(task.stop_sequences) or None
    values = {max_tokens: task.max_tokens, temperature: task.temperature, top_p: task.top_p, stop: stops}
    return {name: value for name, value in values.items() if value is not None}


def joined_text(blocks: pl.Expr) -> pl.Expr:
    """The text of a list of content blocks (structs with a nullable `text`), null where no block has text."""
    texts = blocks.list.eval(pl.element().struct.field("text").drop_nulls())
    return pl.when(texts.list.len() > 0).then(texts.list.join(""))


def vector(values: pl.Expr) -> pl.Expr:
    """A list of numbers, null where it is empty or has a null or a number that is not finite in it."""
    usable = values.list.eval(pl.element().is_finite().fill_null(value=False)).list.all()
    return pl.when(usable & (values.list.len() > 0)).then(values)


def refuse_task(model: str, family: Family, task: Task) -> None:
    """
    Raises:
        ConfigError: The task is of another kind than the family, or has parameters it refuses.
    """
    wanted: Kind = "text" if isinstance(task, TextTask) else "embedding"
    if wanted != family.kind:
        raise ConfigError(
            f"model {model!r} ({family.name}) does {family.kind}, but the task is {wanted}; "
            f"choose a model for {wanted}, or write `task: {{{family.kind}: ...}}`"
        )
    if family.check:
        family.check(task)
