"""Whole files as rows: the name of each and its text, or its bytes."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

import polars as pl
from typing_extensions import override

from bedrock_assets.errors import ConfigError
from bedrock_assets.sources.base import BATCH_ROWS, Source, explained
from bedrock_assets.sources.csv_files import encoding_problem
from bedrock_assets.sources.file_paths import fixed_part, matching_files
from bedrock_assets.sources.s3_files import S3Files
from bedrock_assets.threads import N_READERS, map_ordered

BYTES_AT_ONCE = 32 * 1024 * 1024
"""A batch ends here, so that memory does not depend on how many files there are."""
BINARY = (".pdf", ".doc", ".docx", ".xls", ".xlsx", ".jpg", ".jpeg", ".png", ".gif", ".webp")
"""Files that are sent as documents or images; of all others the text is read."""
TEXT = (".txt", ".md", ".html", ".htm", ".xml", ".json", ".eml", ".log", ".vtt", ".srt")
"""Common names of texts, whose columns are known before anything is read."""
MAX_FILE_BYTES = 1024**3


@dataclass(frozen=True)
class _File:
    """A file that becomes a row."""

    path: str
    name: str
    n_bytes: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class WholeFiles(Source):
    """
    One row a file, in the order of their names.

    Columns are `name` (String, the path below the pattern's folders), and `text` (String) or `content` (Binary).
    """

    pattern: str
    """A file, pattern or folder, local or `s3://`; of a folder all files below it, hidden ones left out."""

    @override
    def describe(self) -> str:
        return f"files {self.pattern}"

    @override
    def columns(self) -> list[str] | None:
        suffix = PurePosixPath(self.pattern).suffix.lower()
        if suffix in BINARY:
            return ["name", "content"]
        return ["name", "text"] if suffix in TEXT else None  # else it may be a folder, or match files of any kind

    @override
    def n_rows(self) -> int:
        return len(self._files)

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        names: list[str] = []
        contents: list[bytes] = []
        n_bytes = 0
        with explained(self._what):
            # In S3 most of the time is spent waiting.
            for name, content in map_ordered(self._read, self._files, N_READERS if self._is_remote else None):
                names.append(name)
                contents.append(content)
                n_bytes += len(content)
                if len(names) >= BATCH_ROWS or n_bytes >= BYTES_AT_ONCE:
                    yield self._frame(names, contents)
                    names, contents, n_bytes = [], [], 0
            if names:
                yield self._frame(names, contents)

    def _read(self, file: _File) -> tuple[str, bytes]:
        if file.n_bytes > MAX_FILE_BYTES:
            raise ConfigError(
                f"{self._what}: {file.path} has {file.n_bytes:,} bytes; a file of one row has at most 1 GiB"
            )
        content = file.read()
        if not self._is_binary:
            content = content.removeprefix(b"\xef\xbb\xbf")
            if problem := encoding_problem(content):
                raise ConfigError(f"source {file.path}: {problem}")
        return file.name, content

    def _frame(self, names: list[str], contents: list[bytes]) -> pl.DataFrame:
        values = pl.Series("content", contents, dtype=pl.Binary)
        column = values if self._is_binary else values.cast(pl.String).alias("text")
        return pl.DataFrame([pl.Series("name", names, dtype=pl.String), column])

    @property
    def _is_binary(self) -> bool:
        return self._suffixes[0] in BINARY

    @cached_property
    def _suffixes(self) -> list[str]:
        suffixes = sorted({PurePosixPath(file.path).suffix.lower() for file in self._files})
        kinds = {suffix in BINARY for suffix in suffixes}
        if len(kinds) > 1:
            raise ConfigError(
                f"{self._what} matches texts and documents or images ({', '.join(suffixes)}); name one kind, such as "
                f"*{suffixes[0]}"
            )
        return suffixes

    @cached_property
    def _files(self) -> list[_File]:
        if self._is_remote:
            found = S3Files(self.pattern, "source.files")
            return [_File(one.key, one.name, one.n_bytes, partial(found.read, one)) for one in found.objects]
        if "://" in self.pattern:
            raise ConfigError(f"{self._what} is neither local nor s3://; copy the files first")
        paths = map(Path, matching_files(self.pattern, "source.files"))
        folder = Path(self.pattern) if Path(self.pattern).is_dir() else fixed_part(self.pattern)
        return [_File(str(path), _name(path, folder), path.stat().st_size, path.read_bytes) for path in paths]

    @property
    def _is_remote(self) -> bool:
        return self.pattern.startswith("s3://")

    @property
    def _what(self) -> str:
        return f"source.files {self.pattern!r}"


def _name(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"source.files: the name {os.fsencode(name)!r} is not UTF-8; rename the file") from error
    return name
