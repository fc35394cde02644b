"""The rows of a pipeline: those of its source, then grouped, or repeated for several prompts."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import polars.selectors as cs
from typing_extensions import override

from bedrock_assets.columns import all_but, column, columns
from bedrock_assets.config.source import ExpandSpec, GroupSpec, SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.templates import Template, parse_template
from bedrock_assets.sources import BATCH_ROWS, Source

HELD_BYTES = 256 * 1024 * 1024
"""Rows to group are held in memory up to this size; larger data is sorted into files."""
N_FILES = 64
"""Files that rows are sorted into."""


def open_rows(
    spec: SourceSpec, expansions: Sequence[ExpandSpec], rows: Source, null_default: str | None = None
) -> Source:
    """
    A source with the groups and expansions of its spec; reads nothing yet.

    Args:
        expansions: Applied in order; each multiplies the rows of the one before.
        rows: The source itself.
        null_default: Text for a null in the text of a group.
    """
    if spec.group_by:
        rows = Grouped(rows, spec.group_by, parse_template(spec.group_by.each, "group_by.each"), null_default)
    for step in expansions:
        rows = Expanded(rows, step)
    return rows


@dataclass(frozen=True)
class Expanded(Source):
    """Each row once per value of a column; a row without values is kept, with a null."""

    rows: Source
    spec: ExpandSpec

    @override
    def describe(self) -> str:
        return f"{self.rows.describe()}, for each {self.spec.column}"

    @override
    def n_rows(self) -> int:
        if self.spec.values:
            return self.rows.n_rows() * len(self.spec.values)
        return sum(len(values.explode(empty_as_null=True)) for values in self.rows.column(self.spec.column))

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        for batch in self.rows.batches():
            names = self._output_columns(batch.columns)
            yield from self._expand(batch)[names].iter_slices(BATCH_ROWS)

    def _expand(self, batch: pl.DataFrame) -> pl.DataFrame:
        name = self.spec.column
        if self.spec.values:
            batch = batch.with_columns(pl.lit(pl.Series([self.spec.values])).first().alias(name))
        elif not isinstance(batch.schema[name], pl.List | pl.Array):
            raise ConfigError(
                f"expand: column {name!r} is not a list but {batch.schema[name]}; name a list column, or give the "
                "new column's `values`"
            )
        return batch.explode(cs.by_name(name), empty_as_null=True)

    def _output_columns(self, names: list[str]) -> list[str]:
        name = self.spec.column
        if self.spec.values and name in names:
            raise ConfigError(f"expand: the dataset already has a column {name!r}; name the new one differently")
        if not self.spec.values and name not in names:
            raise ConfigError(f"expand: column {name!r} is not in the dataset; it has: {', '.join(names)}")
        return [*names, *([name] if self.spec.values else [])]


@dataclass(frozen=True)
class Grouped(Source):
    """
    One row per group of rows with the same values in some columns: a text made of all its rows, other columns as lists.

    Groups come in the order of their first row if all rows fit into `HELD_BYTES`. Otherwise rows are sorted into files
    by a hash of those columns, and groups come in the order of the files.
    """

    rows: Source
    spec: GroupSpec
    each: Template
    null_default: str | None

    @override
    def describe(self) -> str:
        return f"{self.rows.describe()}, grouped by {', '.join(self.spec.columns)}"

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        buffer, n_bytes, batches = list[pl.DataFrame](), 0, iter(self.rows.batches())
        for batch in batches:
            self._output_columns(batch.columns)
            buffer.append(batch)
            n_bytes += batch.estimated_size()
            if n_bytes > HELD_BYTES:
                yield from self._group_in_files(buffer, batches)
                return
        if buffer:
            yield from self._group(pl.concat(buffer)).iter_slices(BATCH_ROWS)

    def _group_in_files(self, buffer: list[pl.DataFrame], batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        with tempfile.TemporaryDirectory(prefix="bedrock-assets-") as folder:
            n_pieces = 0
            while buffer:
                rows = pl.concat(buffer)
                for (number,), piece in rows.group_by(self._hash() % N_FILES, maintain_order=True):
                    piece.write_parquet(Path(folder) / f"{number:02}-{n_pieces:06}.parquet", compression="lz4")
                n_pieces += 1
                buffer = list(_take(batches))
            for number in range(N_FILES):
                if pieces := sorted(Path(folder).glob(f"{number:02}-*.parquet")):
                    yield from self._group(pl.concat(map(pl.read_parquet, pieces))).iter_slices(BATCH_ROWS)

    def _hash(self) -> pl.Expr:
        return pl.struct(columns(self.spec.columns)).hash(0).alias("hash")

    def _group(self, rows: pl.DataFrame) -> pl.DataFrame:
        spec = self.spec
        rows = rows.with_columns(self.each.render(rows.schema, self.null_default).alias(spec.into))
        values = all_but(spec.columns)
        if spec.order_by is not None:
            values = values.sort_by(column(spec.order_by), maintain_order=True)
        groups = rows.group_by(columns(spec.columns), maintain_order=True).agg(values)
        # A null in one row makes the text null, as in any prompt.
        text = column(spec.into).list.join(spec.separator, ignore_nulls=False)
        return groups.with_columns(text)[self._output_columns(rows.columns[:-1])]

    def _output_columns(self, names: list[str]) -> list[str]:
        for name in (*self.spec.columns, *([] if self.spec.order_by is None else [self.spec.order_by])):
            if name not in names:
                raise ConfigError(f"group_by: column {name!r} is not in the dataset; it has: {', '.join(names)}")
        if self.spec.into in names:
            raise ConfigError(f"group_by: the dataset already has a column {self.spec.into!r}; set `into`")
        self.each.check(names)
        return [*self.spec.columns, self.spec.into, *(name for name in names if name not in self.spec.columns)]


def _take(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The next batches, up to `HELD_BYTES`."""
    n_bytes = 0
    for batch in batches:
        yield batch
        n_bytes += batch.estimated_size()
        if n_bytes > HELD_BYTES:
            return
