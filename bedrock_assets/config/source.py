"""What `source:` may say: where the rows come from, and how they are cut into prompts."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from bedrock_assets.limits import Strict

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A pipeline's name: it becomes a Dagster key prefix, a folder in the store and a part of job names."""


class HuggingFaceSpec(Strict):
    """A dataset of the Hugging Face hub, or a local dataset folder, read as a stream by `datasets`."""

    id: str = Field(description="Hub id such as `w601sxs/simpleCoT`, or the path of a local dataset folder.")
    split: str = Field(default="train", description="Split to read.")
    name: str | None = Field(default=None, description="Configuration (subset) of the dataset, where it has several.")
    revision: str | None = Field(default=None, description="Commit, tag or branch; pin a commit for repeatable runs.")


class ChitchatSpec(Strict):
    """Human conversations of the PyPI package `chitchat-dataset` (MIT), one row per conversation."""

    min_turns: int = Field(default=6, ge=1, description="Leave out conversations with fewer turns.")


class ExpandSpec(Strict):
    """One row becomes several, each with a prompt of its own."""

    column: str = Field(description="A list column, of which each row is to have one value; with `values` a new one.")
    values: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="The values that every row is repeated for, instead of a list column."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.values or ())) < len(self.values or ()):
            raise ValueError("values are not distinct; every row would be asked the same twice")
        return self


def _one_or_several(value: Any) -> Any:
    """A column, which may stand for itself."""
    return (value,) if isinstance(value, str) else value


class GroupSpec(Strict):
    """Several rows become one prompt."""

    columns: Annotated[tuple[str, ...], BeforeValidator(_one_or_several)] = Field(
        min_length=1, description="Column, or columns, that rows of a group agree in."
    )
    each: str = Field(description="What the prompt has of each row: a template, such as `{speaker}: {text}`.")
    separator: str = Field(default="\n", description="Put between two rows.")
    order_by: str | None = Field(
        default=None, description="Column by which the rows of a group are sorted; else they stay in order."
    )
    into: str = Field(default="rows", description="Name of the new column with the joined text.")


class SourceSpec(Strict):
    """Where the rows come from: exactly one of `path`, `huggingface`, `chitchat`, `pipeline`."""

    path: str | None = Field(
        default=None, description="File or glob, local or `s3://`: .parquet, .csv, .jsonl, .ndjson."
    )
    huggingface: HuggingFaceSpec | None = None
    chitchat: ChitchatSpec | None = None
    pipeline: Name | None = Field(
        default=None, description="Another pipeline, whose `joined_table` is read; `raw_dataset` depends on it."
    )
    id_column: str | None = Field(
        default=None,
        description="Column with a unique, non-null id. Without it ids derive from position and content. With `expand` "
        "a row's id is this one and the value, `call_17:German`.",
    )
    dtypes: dict[str, str] = Field(
        default_factory=dict,
        description="CSV only: polars dtype names for columns that are not text, e.g. {age: Int64}.",
    )
    group_by: GroupSpec | None = Field(
        default=None, description="Ask once for several rows. The other columns become lists."
    )
    expand: ExpandSpec | None = Field(
        default=None, description="Ask several times for each row, or, with `group_by`, for each group."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        keys = ("path", "huggingface", "chitchat", "pipeline")
        named = [key for key in keys if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of {', '.join(keys)}; found {named or 'none'}")
        return self
