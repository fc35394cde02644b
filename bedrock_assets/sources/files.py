"""Parquet, CSV and JSON Lines files: one file, a glob or a folder, local; or one file or a glob on S3."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from glob import has_magic
from itertools import chain
from typing import Any

import polars as pl
from polars.exceptions import PolarsError
from typing_extensions import override

from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources import csv_files, json_lines
from bedrock_assets.sources.base import BATCH_ROWS, Source, explained
from bedrock_assets.sources.file_paths import LocalFiles, require_suffix
from bedrock_assets.sources.storable import storable

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
    def n_rows(self) -> int:
        with self._explained_errors():
            if self._is_local_json:
                return sum(map(json_lines.count_rows, self._files.names))
            if self._suffix == ".csv" and not self._is_remote:
                # `pl.len()` alone maps the whole file into memory.
                first = self._scan().collect_schema().names()[:1]
                return sum(map(len, self._read_batches(self._scan().select(map(column, first)))))
            return self._scan().select(pl.len()).collect().item()

    @override
    def column(self, name: str) -> Iterator[pl.Series]:
        with self._explained_errors():
            if self._is_local_json:
                yield from (batch[name] for batch in self._json_batches())
                return
            for batch in self._read_batches(self._scan().select(column(name))):
                yield storable(batch, self._what)[name]

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        with self._explained_errors():
            if self._is_local_json:
                yield from self._json_batches()
                return
            scan = self._scan()
            checked = self._suffix != ".csv" or self._is_remote
            # No row at all may come after a stray quote in the header.
            for batch in chain([scan.head(0).collect()] if not checked else [], self._read_batches(scan)):
                if not checked and csv_files.may_lack_rows(batch):
                    csv_files.require_quotes(self._files.names, self.n_rows())
                    checked = True
                yield storable(batch, self._what)

    def _json_batches(self) -> Iterator[pl.DataFrame]:
        schema = json_lines.read_schema(self._files.names)
        for index, name in enumerate(self._files.names):
            added = self._files.partition_columns(index, schema)
            for rows in json_lines.read_rows(name, schema):
                yield from rows.with_columns(added).iter_slices(BATCH_ROWS)

    def _read_batches(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        if self._suffix != ".parquet":
            yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
            return
        # Parquet can be read from any row, and streaming it reads many row groups ahead: 3 times the memory.
        slice_rows = S3_SLICE_ROWS if self._is_remote else BATCH_ROWS
        for start in range(0, self.n_rows(), slice_rows):
            yield from rows.slice(start, slice_rows).collect().iter_slices(BATCH_ROWS)

    @contextmanager
    def _explained_errors(self) -> Generator[None]:
        with explained(self._what):
            try:
                yield
            except PolarsError as error:
                # A value that is not of its dtype is told by polars itself.
                is_plain = self._suffix == ".csv" and not self._is_remote and "conversion" not in str(error)
                found = csv_files.explain(self._files.names) if is_plain else None
                if found is None:
                    raise
                raise ConfigError(f"source {found}") from error

    def _scan(self) -> pl.LazyFrame:
        if self._is_remote:
            return self._open(self.path, **({"hive_partitioning": True} if has_magic(self.path) else {}))
        if self._suffix == ".csv":
            for name in self._files.names:
                csv_files.require_readable(name)
        if not self._files.partitions:
            return self._open(self._files.names, glob=False)
        scans = [self._open(name, glob=False) for name in self._files.names]
        own = scans[0].collect_schema().names()
        return pl.concat(
            [scan.with_columns(self._files.partition_columns(index, own)) for index, scan in enumerate(scans)]
        )

    def _open(self, path: str | list[str], **options: Any) -> pl.LazyFrame:
        if self._suffix == ".parquet":
            return pl.scan_parquet(path, **options)
        options.pop("hive_partitioning", None)
        if self._suffix == ".csv":
            return csv_files.scan_csv(path, self.dtypes, **options)
        return pl.scan_ndjson(path, infer_schema_length=None)

    @property
    def _what(self) -> str:
        return f"source {self.path!r}"

    @property
    def _is_remote(self) -> bool:
        return self.path.startswith("s3://")

    @property
    def _is_local_json(self) -> bool:
        return not self._is_remote and self._suffix in (".jsonl", ".ndjson")

    @property
    def _suffix(self) -> str:
        return require_suffix(self.path) if self._is_remote else self._files.suffix

    @cached_property
    def _files(self) -> LocalFiles:
        return LocalFiles(self.path)
