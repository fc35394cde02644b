"""The rows of an asset of the user's: files that it writes, or values that its IO manager loads."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl
from polars.exceptions import PolarsError
from typing_extensions import override

from bedrock_assets.errors import ConfigError, EmptyDataset
from bedrock_assets.sources.base import BATCH_ROWS, Source


@dataclass(frozen=True)
class AssetRows(Source):
    """
    The rows of an asset, partition after partition.

    Columns are not known before they are read: the asset's file may be an old one, and a pipeline that it does not fit
    has to load all the same, or the asset could not be materialized anew.
    """

    name: str
    """The asset's key, its parts separated by slashes."""
    parts: tuple[Source, ...] = ()
    """Where the rows are, one source for each partition; empty if only Dagster's event log knows it."""

    @override
    def describe(self) -> str:
        first = f": {self.parts[0].describe()}" if self.parts else ""
        more = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        return f"asset {self.name}{first}{more}"

    @override
    def n_rows(self) -> int:
        with self._explained_errors():
            return sum(part.n_rows() for part in self._known_parts())

    @override
    def column(self, name: str) -> Iterator[pl.Series]:
        with self._explained_errors():
            yield from chain.from_iterable(part.column(name) for part in self._known_parts())

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        schema: pl.Schema | None = None
        with self._explained_errors():
            for part in self._known_parts():
                for batch in part.batches():
                    if batch.is_empty():
                        continue
                    schema = schema or batch.schema
                    self._require_columns(schema, batch.schema, part)
                    yield batch.select(schema.names())
        if schema is None:
            raise EmptyDataset(
                f"source.asset: {self.describe()} has no rows, so there is nothing to send; materialize {self.name} "
                "when it has some"
            )

    def _known_parts(self) -> tuple[Source, ...]:
        if not self.parts:
            raise ConfigError("only a run, or the event log of a Dagster instance, knows where its rows are")
        return self.parts

    def _require_columns(self, first: pl.Schema, schema: pl.Schema, part: Source) -> None:
        for name in {**first, **schema}:
            if (there := first.get(name)) != (here := schema.get(name)):
                raise ConfigError(
                    f"column {name!r} of {part.describe()} is {here or 'not there'}, but {there or 'not there'} in "
                    f"{self.parts[0].describe()}; all partitions need the same columns"
                )

    @contextmanager
    def _explained_errors(self) -> Generator[None]:
        try:
            yield
        except ConfigError as error:
            raise ConfigError(
                f"source.asset {self.name}: {error}. Materialize {self.name}, or correct `source`"
            ) from error


@dataclass(frozen=True)
class Value(Source):
    """
    A value that an IO manager loads.

    A polars DataFrame or LazyFrame, a pandas DataFrame (a named index is columns, too), or a pyarrow Table.
    """

    what: str
    """Such as `its value`, for messages."""
    load: Callable[[], object]
    """Loads the value, each time anew."""

    @override
    def describe(self) -> str:
        return self.what

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        frame = self._frame(self._load())
        if isinstance(frame, pl.DataFrame):
            yield from frame.iter_slices(BATCH_ROWS)
        elif isinstance(frame, pl.LazyFrame):
            try:
                yield from frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
            except (OSError, PolarsError) as error:
                raise ConfigError(f"{self.what} cannot be read: {_told(error)}") from error
        else:
            kind = type(frame)
            raise ConfigError(
                f"{self.what} is a {kind.__module__}.{kind.__qualname__}; return a polars DataFrame or LazyFrame, a "
                "pandas DataFrame or a pyarrow Table, or write a file and name it under `path`"
            )

    def _frame(self, value: Any) -> pl.DataFrame | pl.LazyFrame | object:
        """A value of a known type as polars has it; any other as it is."""
        # Who has a value of a type has imported its module.
        pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
        try:
            if pandas and isinstance(value, pandas.DataFrame):
                return pl.from_pandas(value, include_index=any(name is not None for name in value.index.names))
            if pyarrow and isinstance(value, pyarrow.Table):
                frame = pl.from_arrow(value)
                return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
        except (TypeError, ValueError, PolarsError) as error:  # pyarrow's errors are the first two
            raise ConfigError(f"{self.what} has columns that polars cannot take: {_told(error)}") from error
        return value

    def _load(self) -> object:
        try:
            return self.load()
        except Exception as error:  # an IO manager is anybody's code
            raise ConfigError(
                f"its IO manager cannot load {self.what}: {_told(error)}; if the asset writes a file itself, name that "
                "under `path`, or in its metadata `dagster/uri`"
            ) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
