"""The key `sinks:`: where the table is written besides the store, one mapping for each kind of place."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bedrock_assets.config.source import CatalogTableSpec, ConnectionSpec
from bedrock_assets.limits import Matching, Strict

ColumnNames = Annotated[tuple[str, ...], Field(min_length=1)]


class SinkSpec(Strict):
    """What the sinks have in common."""

    columns: ColumnNames | None = Field(
        default=None, description="Columns of the table to write, beside the record id; by default all."
    )


class SqlSinkSpec(SinkSpec, ConnectionSpec):
    """A table of PostgreSQL, DuckDB or SQLite."""

    table: Annotated[str, Matching(r"^[^.\"\0]+(\.[^.\"\0]+)?$", "a table, or schema.table")] = Field(
        description="Its name, such as `calls` or `marts.calls`; made if it is not there."
    )


class IcebergSinkSpec(SinkSpec, CatalogTableSpec):
    """An Iceberg table, made if it is not there."""

    table: Annotated[str, Matching(r"^[^.]+(\.[^.]+)+$", "its namespace and name: shop.calls")] = Field(
        description="Its name in the catalog, such as `shop.calls`."
    )


class LanceSinkSpec(SinkSpec):
    """A table of a LanceDB database in a folder or in S3."""

    path: str = Field(description="Folder of the database, local or `s3://`; a relative path starts at the YAML.")
    table: Annotated[str, Matching(r"^[A-Za-z0-9_.\-]+$", "letters, digits and _ . - only")] = Field(
        description="Its name in the database; made if it is not there."
    )


_NAME = Matching(r"^[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]$", "3 to 63 lower-case letters, digits, dots or hyphens")


class S3VectorsSpec(Strict):
    """An index of Amazon S3 Vectors: one vector for each row that has an embedding, its key is the record id."""

    bucket: Annotated[str, _NAME] = Field(description="Vector bucket, which has to exist.")
    index: Annotated[str, _NAME] = Field(description="Index in it; made if it is not there.")
    region: str | None = Field(default=None, description="AWS Region of the bucket; by default that of the settings.")
    vector: str | None = Field(default=None, description="Column with the vectors; by default the embedding.")
    metadata: tuple[str, ...] = Field(
        default=(), description="Columns whose values are stored with a vector, and by which queries may filter."
    )
    not_filterable: tuple[str, ...] = Field(
        default=(), max_length=9, description="Columns of `metadata` that may be longer, and are no filters."
    )
    distance: Literal["cosine", "euclidean"] = Field(default="cosine", description="Of an index that is made.")

    @model_validator(mode="after")
    def _stored(self) -> Self:
        if absent := [name for name in self.not_filterable if name not in self.metadata]:
            raise ValueError(f"not_filterable names {absent[0]!r}, which is not under `metadata`; add it there")
        return self


class SinksSpec(Strict):
    """Places to which the table is written; each becomes an asset."""

    sql: SqlSinkSpec | None = None
    iceberg: IcebergSinkSpec | None = None
    lancedb: LanceSinkSpec | None = None
    s3_vectors: S3VectorsSpec | None = None
