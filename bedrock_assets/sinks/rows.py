"""The rows that a sink is to have: the table's, with plain types, and in each row a mark that tells its content."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import polars as pl
from polars.datatypes import DataTypeClass

from bedrock_assets.columns import column, columns
from bedrock_assets.errors import ConfigError, StoreError
from bedrock_assets.pipeline.ids import content_hash
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import CIRCUMSTANCES
from bedrock_assets.storage.manifests import Part, TableManifest
from bedrock_assets.storage.parquet import ROW_GROUP_ROWS
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store

MARK = "bedrock_row"
"""Column of a sink: the pipeline that has written the row, and a hash of the row, `calls:0123456789abcdef`."""
_MARK_DIGITS = 16


@dataclass(frozen=True)
class Piece:
    """Some rows of a part, which are read at once."""

    part: Part
    offset: int


@dataclass(frozen=True)
class SinkRows:
    """
    The rows of a published table, as a sink gets them.

    Raises:
        ConfigError: A chosen column is not in the table, or the table has one of the mark's name.
    """

    publication: Publication
    pipeline: Pipeline
    chosen: tuple[str, ...] | None = None
    """Columns to write beside the record id; None for all."""
    required: str | None = None
    """Column without which a row is not written, such as that of the vectors."""

    def __post_init__(self) -> None:
        known = self.publication.manifest.columns
        if unknown := [name for name in self.chosen or () if name not in known]:
            raise ConfigError(f"sinks: column {unknown[0]!r} is not in the table; it has: {', '.join(known)}")
        if MARK in known:
            raise ConfigError(f"sinks: the table has a column {MARK!r}, the name of one that sinks add; rename it")

    @classmethod
    def of(
        cls,
        store: Store,
        pipeline: Pipeline,
        table: TableManifest,
        chosen: tuple[str, ...] | None = None,
        required: str | None = None,
    ) -> "SinkRows":
        """The rows of *table*."""
        return cls(Publication(store, pipeline.spec.name, table), pipeline, chosen, required)

    @property
    def key(self) -> str:
        """Name of the record id column."""
        return self.pipeline.record_id

    @property
    def owner(self) -> str:
        """What the marks of the pipeline's rows begin with."""
        return f"{self.pipeline.spec.name}:"

    @cached_property
    def names(self) -> list[str]:
        """Columns that are read, in the table's order."""
        known = self.publication.manifest.columns
        return [name for name in known if self.chosen is None or name in {self.key, *self.chosen}]

    @property
    def revision(self) -> str:
        """Of the pipeline, its table and the chosen columns."""
        digest = hashlib.sha256("\0".join(self.names).encode()).hexdigest()[:8]
        return f"{self.owner}{self.publication.manifest.revision}-{digest}"

    @cached_property
    def schema(self) -> pl.Schema:
        """Columns of the sink with their types, the mark last; without those that have no type yet."""
        return pl.Schema({**{name: plain_dtype(dtype) for name, dtype in self._written.items()}, MARK: pl.String()})

    @cached_property
    def void(self) -> list[str]:
        """Columns that are null in all rows and have no type, which are written only where they have one."""
        return [name for name, dtype in self._read.items() if dtype == pl.Null]

    @cached_property
    def _written(self) -> pl.Schema:
        return pl.Schema({name: dtype for name, dtype in self._read.items() if dtype != pl.Null})

    @cached_property
    def _read(self) -> pl.Schema:
        first = self.publication.manifest.parts[0]
        return self.publication.read(first, lambda rows: rows.select(columns(self.names)).head(0)).schema

    @cached_property
    def pieces(self) -> list[Piece]:
        """All rows, in order."""
        parts = self.publication.manifest.parts
        return [Piece(part, offset) for part in parts for offset in range(0, part.n_rows, ROW_GROUP_ROWS)]

    def read(self, piece: Piece) -> pl.DataFrame:
        """The rows of a piece, with marks."""
        rows = self.publication.read(piece.part, self._select(piece))
        if self.required is not None:
            rows = rows.filter(column(self.required).is_not_null())
        return rows.with_columns(self._mark.alias(MARK))

    def _select(self, piece: Piece) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
        values = [_plain(column(name), dtype).alias(name) for name, dtype in self._written.items()]
        return lambda rows: rows.slice(piece.offset, ROW_GROUP_ROWS).select(values)

    @cached_property
    def _mark(self) -> pl.Expr:
        names = self.pipeline.answer_columns
        told = {names[name] for name in CIRCUMSTANCES if name in names}
        content = {name: dtype for name, dtype in self.schema.items() if name not in {MARK, *told}}
        return pl.lit(self.owner) + content_hash(content).str.head(_MARK_DIGITS)


def _plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Duration):  # a cast would keep its unit
        return value.dt.total_microseconds()
    return value.cast(plain_dtype(dtype))


def plain_dtype(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    """
    A type that databases and table formats have.

    Unsigned integers become Int64, smaller ones Int32, categories, times of day and what is null String, durations
    Int64 (microseconds; within lists and structs in their own unit); moments have microseconds. Vectors stay Arrays,
    other Arrays become Lists.
    """
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: plain_dtype(field.dtype) for field in dtype.fields})
    if isinstance(dtype, pl.Array) and dtype.inner.is_float():
        return pl.Array(plain_dtype(dtype.inner), dtype.size)
    if isinstance(dtype, (pl.List, pl.Array)):
        return pl.List(plain_dtype(dtype.inner))
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", dtype.time_zone)
    plain = _SCALARS.get(dtype.base_type())
    if plain:
        return plain()
    return dtype if isinstance(dtype, pl.DataType) else dtype()


_SCALARS: dict[object, type[pl.DataType]] = {
    **dict.fromkeys((pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Duration), pl.Int64),
    **dict.fromkeys((pl.Int8, pl.Int16), pl.Int32),
    **dict.fromkeys((pl.Enum, pl.Categorical, pl.Null, pl.Time), pl.String),
    pl.Float16: pl.Float32,
}


def is_vector(dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether a column holds vectors: numbers, as many in each row."""
    return isinstance(dtype, pl.Array) and dtype.inner.is_float()


def require_fit(there: pl.Schema, schema: pl.Schema, where: str) -> None:
    """
    Check that a table that is there can take the rows; it may have more columns.

    Args:
        where: The sink and its table, for the message.

    Raises:
        StoreError: A column is absent there, or has another type.
    """
    for name, dtype in schema.items():
        if there.get(name) != dtype:
            told = f"has column {name!r} as {there[name]}, not {dtype}" if name in there else f"has no column {name!r}"
            raise StoreError(
                f"{where} {told}; name the columns to write under `columns`, change that table, or write to another. "
                "Nothing was written"
            )
