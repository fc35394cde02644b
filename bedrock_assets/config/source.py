"""The key `source:`: where rows come from, and how they become prompts."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from bedrock_assets.config.templating import Text
from bedrock_assets.config.uri_secrets import is_encoded, secrets_of
from bedrock_assets.limits import Matching, Strict

Name = Annotated[
    str,
    Matching(r"^[a-z][a-z0-9_]{0,39}$", "lower-case letters, digits and _, a letter first, at most 40"),
]
"""A pipeline's name: a Dagster key prefix, a folder in the store and a part of job names."""


class HuggingFaceSpec(Strict):
    """A dataset on the Hugging Face hub, or a local dataset folder, streamed by `datasets`."""

    id: str = Field(description="Hub id such as `w601sxs/simpleCoT`, or the path of a local dataset folder.")
    split: str = Field(default="train", description="Split to read, such as `train` or `train[:1000]`.")
    name: str | None = Field(default=None, description="Configuration (subset) of the dataset, if it has several.")
    revision: str | None = Field(default=None, description="Commit, tag or branch; name a commit for repeatable runs.")


class ConnectionSpec(Strict):
    """How to reach a database. Credentials stay out of the YAML: name a variable that holds the URI."""

    connection: str | None = Field(
        default=None,
        description="URI without a password: `postgresql://reader@db.example.com/sales`, `duckdb:///sales.duckdb`, "
        "`sqlite:///sales.db`. A path with one more slash is absolute; another starts at the YAML.",
    )
    connection_env: str | None = Field(
        default=None, description="Environment variable that holds the URI; read when a run connects."
    )

    @model_validator(mode="after")
    def _one_connection(self) -> Self:
        self.require_exactly_one("connection", "connection_env")
        if self.connection and (secrets_of(self.connection) or not is_encoded(self.connection)):
            raise ValueError(
                "`connection` holds a password; put the URI, with that percent-encoded, into a variable and name "
                "it: connection_env"
            )
        return self


class SqlSpec(ConnectionSpec):
    """The result of a query, streamed."""

    query: Text = Field(description="A SELECT. Add ORDER BY, so that rows stay in their shards from run to run.")


class DeltaSpec(Strict):
    """A Delta table."""

    path: str = Field(description="Folder of the table, local or `s3://`; a relative path starts at the YAML.")
    version: int | None = Field(default=None, ge=0, description="Version to read; by default the newest.")


class CatalogTableSpec(Strict):
    """A table of an Iceberg catalog (Glue, REST, S3 Tables, SQL), as pyiceberg is configured."""

    table: str = Field(description="Its name in the catalog, such as `shop.reviews`.")
    catalog: str = Field(default="default", description="Name of the catalog in `.pyiceberg.yaml` or the environment.")
    properties: dict[str, str] = Field(
        default_factory=dict,
        description="Properties of the catalog beside those, such as `{type: glue}`; credentials do not belong here.",
    )

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        for name, value in self.properties.items():
            if re.search("password|token$|secret|credential", name, re.I) or ("://" in value and secrets_of(value)):
                raise ValueError(
                    f"properties.{name} holds a secret; set it in .pyiceberg.yaml or in a variable such as "
                    f"PYICEBERG_CATALOG__{self.catalog}__{name.replace('.', '__').replace('-', '_')}".upper()
                )
        return self


class IcebergSpec(CatalogTableSpec):
    """An Iceberg table, read at one snapshot."""

    snapshot_id: int | None = Field(default=None, description="Snapshot to read; by default the newest.")


class ChitchatSpec(Strict):
    """Human conversations from the PyPI package `chitchat-dataset` (MIT), one row per conversation."""

    min_turns: int = Field(default=6, ge=1, description="Skip conversations with fewer turns.")


def _key_parts(value: Any) -> Any:
    """Allow an asset key as text, with a slash between its parts, as Dagster does."""
    return tuple(value.split("/")) if isinstance(value, str) else value


KeyPart = Annotated[str, StringConstraints(min_length=1)]
AssetKey = Annotated[
    tuple[KeyPart, ...], Field(min_length=1), BeforeValidator(_key_parts, json_schema_input_type=str | list[str])
]
"""A Dagster asset key: `reviews`, `shop/reviews` or `[shop, reviews]`."""


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

    columns: Annotated[tuple[str, ...], BeforeValidator(_one_or_several, json_schema_input_type=str | list[str])] = (
        Field(min_length=1, description="Column or columns whose values the rows of a group share.")
    )
    each: Text = Field(description="Template for the text of each row, such as `{speaker}: {text}`.")
    separator: str = Field(default="\n", description="Text between two rows.")
    order_by: str | None = Field(
        default=None, description="Column to sort the rows of a group by; by default they keep their order."
    )
    into: str = Field(default="rows", description="Name of the new column with the joined text.")


KINDS = ("path", "files", "sql", "delta", "iceberg", "huggingface", "chitchat", "pipeline", "asset")
"""Keys of which a source has one; an asset may have a `path` as well."""


class SourceSpec(Strict):
    """Where the rows are: one of the kinds of source; or a `path` of an `asset`."""

    path: str | None = Field(
        default=None,
        description="File or glob, local or `s3://`, or a local folder: .parquet, .csv, .jsonl, .ndjson. Folders such "
        "as `year=2026` below it are columns.",
    )
    asset: AssetKey | None = Field(
        default=None,
        description="An asset of yours, on which `raw_dataset` depends: `reviews`, or its key `[shop, reviews]`. Its "
        "rows are in the files at `path`, or found as `through` says.",
    )
    through: Literal["uri", "value"] | None = Field(
        default=None,
        description="With `asset` and no `path`: read the file that the asset's metadata `dagster/uri` (or `path`) "
        "names, or its `value` through its IO manager. By default the file if there is one in a known format, else "
        "the value.",
    )
    partitions: Literal["all", "materialized"] = Field(
        default="all",
        description="With a partitioned `asset` and no `path`: fail if a partition is not materialized, or read those "
        "that are.",
    )
    deps: tuple[AssetKey, ...] = Field(
        default=(), description="Other assets on which `raw_dataset` depends, for the order of the graph only."
    )
    files: str | None = Field(
        default=None,
        description="Whole files as rows: a local pattern such as `calls/*.txt`, or a folder. Columns are `name` and "
        "`text`, of PDF, Office files and images `name` and `content`, for `documents` and `images`.",
    )
    sql: SqlSpec | None = None
    delta: DeltaSpec | None = None
    iceberg: IcebergSpec | None = None
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
    limit: int | None = Field(
        default=None, ge=1, description="Read only so many rows, from the first on, for a trial on a part."
    )
    dtypes: dict[str, str] = Field(
        default_factory=dict,
        description="CSV only: polars dtypes of columns that are not text, e.g. "
        "{age: Int64, day: Date, price: 'Decimal(12, 2)'}.",
    )
    group_by: GroupSpec | None = Field(
        default=None, description="Send one prompt for several rows; all other columns become lists."
    )
    expand: ExpandSpec | None = Field(
        default=None, description="Send several prompts for each row, or for each group of `group_by`."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if self.asset is None:
            self.require_exactly_one(*KINDS)
            if self.through or self.partitions != "all":
                raise ValueError("through and partitions are for a source that is an asset; name the `asset`")
            return self
        others = [key for key in KINDS[1:-1] if getattr(self, key) is not None]
        if others:
            raise ValueError(f"asset and {others[0]} are two sources; name one, and the other under `deps` if need be")
        if self.path and (self.through or self.partitions != "all"):
            raise ValueError("the rows of the asset are at `path`; remove `through` and `partitions`, or `path`")
        return self

    @model_validator(mode="after")
    def _ids_of_a_query(self) -> Self:
        if self.sql and self.id_column is None:
            raise ValueError("sql returns rows in any order, so their position is no id; name an `id_column`")
        return self

    @property
    def upstream(self) -> tuple[tuple[str, ...], ...]:
        """Keys of the assets that have to be materialized before, each once."""
        tables = [(self.pipeline, "joined_table")] if self.pipeline else []
        return tuple(dict.fromkeys([*tables, *([self.asset] if self.asset else []), *self.deps]))

    @property
    def needs_instance(self) -> bool:
        """Whether only Dagster's event log says where the rows are."""
        return self.asset is not None and self.path is None
