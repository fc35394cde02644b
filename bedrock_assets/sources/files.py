"""Parquet, CSV and JSON Lines files: one file or a glob, local or on S3."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError
from typing_extensions import override

from bedrock_assets.errors import ConfigError
from bedrock_assets.sources.base import BATCH_ROWS, Source

SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")
S3_SLICE_ROWS = 131_072
"""Rows to fetch at once from S3, where each request takes time and whole row groups are fetched."""


@dataclass(frozen=True)
class Files(Source):
    """Files of one format, read as a stream."""

    path: str
    dtypes: dict[str, str] = field(default_factory=dict)
    """CSV only: polars dtype names of columns that are not text."""

    @override
    def describe(self) -> str:
        return self.path

    @override
    def columns(self) -> list[str] | None:
        if self.path.startswith("s3://"):
            return None
        with self._explained_errors():
            return self._scan().collect_schema().names() if _matches(self.path) else None

    @override
    def n_rows(self) -> int:
        with self._explained_errors():
            return self._scan().select(pl.len()).collect().item()

    @override
    def column(self, name: str) -> Iterator[pl.Series]:
        with self._explained_errors():
            for batch in self._read_batches(self._scan().select(name)):
                yield batch[name]

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        with self._explained_errors():
            yield from self._read_batches(self._scan())

    def _read_batches(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        if Path(self.path).suffix.lower() != ".parquet":
            yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
            return
        # Parquet can be read from any row, and streaming it reads many row groups ahead: 3 times the memory.
        slice_rows = S3_SLICE_ROWS if self.path.startswith("s3://") else BATCH_ROWS
        for start in range(0, self.n_rows(), slice_rows):
            yield from rows.slice(start, slice_rows).collect().iter_slices(BATCH_ROWS)

    @contextmanager
    def _explained_errors(self) -> Generator[None]:
        try:
            yield
        except (OSError, PolarsError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise ConfigError(f"source {self.path!r} cannot be read: {first_line}") from error

    def _scan(self) -> pl.LazyFrame:
        if not self.path.startswith("s3://") and not _matches(self.path):
            raise ConfigError(f"source path {self.path!r} matches no file; relative paths start at {Path.cwd()}")
        match Path(self.path).suffix.lower():
            case ".parquet":
                return pl.scan_parquet(self.path)
            case ".csv":
                # All columns are text unless named: dtypes inferred per file lose leading zeros and may differ.
                scan = pl.scan_csv(self.path, infer_schema=False)
                return scan.with_columns(pl.col(name).cast(self._dtype(name)) for name in self.dtypes)
            case ".jsonl" | ".ndjson":
                return pl.scan_ndjson(self.path, infer_schema_length=None)
            case suffix:
                problem = f"ends in {suffix}" if suffix else "has no suffix"
                raise ConfigError(f"source path {self.path!r} {problem}; known: {', '.join(SUFFIXES)}")

    def _dtype(self, column: str) -> type[pl.DataType]:
        dtype = getattr(pl, self.dtypes[column], None)
        if not (isinstance(dtype, type) and issubclass(dtype, pl.DataType)):
            raise ConfigError(
                f"dtypes: {column}: {self.dtypes[column]!r} is not a polars dtype; for example Int64, Float64, Date"
            )
        return dtype


def _matches(pattern: str) -> bool:
    # A pattern may be absolute, which Path.glob refuses.
    return bool(glob(pattern, recursive=True))  # noqa: PTH207
