"""The key `source:`: where rows come from, and how they become prompts."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from bedrock_assets.config.templating import Text
from bedrock_assets.limits import Strict

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A pipeline's name: a Dagster key prefix, a folder in the store and a part of job names."""


class HuggingFaceSpec(Strict):
    """A dataset on the Hugging Face hub, or a local dataset folder, streamed by `datasets`."""

    id: str = Field(description="Hub id such as `w601sxs/simpleCoT`, or the path of a local dataset folder.")
    split: str = Field(default="train", description="Split to read.")
    name: str | None = Field(default=None, description="Configuration (subset) of the dataset, if it has several.")
    revision: str | None = Field(default=None, description="Commit, tag or branch; name a commit for repeatable runs.")


class ChitchatSpec(Strict):
    """Human conversations from the PyPI package `chitchat-dataset` (MIT), one row per conversation."""

    min_turns: int = Field(default=6, ge=1, description="Skip conversations with fewer turns.")


class ExpandSpec(Strict):
    """Make several rows of one, each with its own prompt."""

    column: str = Field(description="A list column: one row per value. With `values`: the name of a new column.")
    values: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Repeat every row once per value, instead of using a list column."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.values or ())) < len(self.values or ()):
            raise ValueError("values are not distinct, so rows would repeat; write each value once")
        return self


def _one_or_several(value: Any) -> Any:
    """Allow a single column without a list."""
    return (value,) if isinstance(value, str) else value


class GroupSpec(Strict):
    """Make one prompt of several rows."""

    columns: Annotated[tuple[str, ...], BeforeValidator(_one_or_several)] = Field(
        min_length=1, description="Column or columns whose values the rows of a group share."
    )
    each: Text = Field(description="Template for the text of each row, such as `{speaker}: {text}`.")
    separator: str = Field(default="\n", description="Text between two rows.")
    order_by: str | None = Field(
        default=None, description="Column to sort the rows of a group by; by default they keep their order."
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
        default=None,
        description="Another pipeline, whose `joined_table` is read; `raw_dataset` depends on it.",
    )
    id_column: str | None = Field(
        default=None,
        description="Column with a unique id and no nulls. By default ids are derived from position and content. With "
        "`expand` an id is followed by the value: `call_17:German`.",
    )
    dtypes: dict[str, str] = Field(
        default_factory=dict,
        description="CSV only: polars dtypes of columns that are not text, e.g. {age: Int64}.",
    )
    group_by: GroupSpec | None = Field(
        default=None, description="Send one prompt for several rows; all other columns become lists."
    )
    expand: ExpandSpec | None = Field(
        default=None, description="Send several prompts for each row, or for each group of `group_by`."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        self.require_exactly_one("path", "huggingface", "chitchat", "pipeline")
        return self
