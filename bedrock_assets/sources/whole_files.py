"""Whole files as rows: the name of each and its text, or its bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
from typing_extensions import override

from bedrock_assets.errors import ConfigError
from bedrock_assets.sources.base import BATCH_ROWS, Source, explained
from bedrock_assets.sources.csv_files import encoding_problem
from bedrock_assets.sources.file_paths import fixed_part, matching_files

BYTES_AT_ONCE = 32 * 1024 * 1024
"""A batch ends here, so that memory does not depend on how many files there are."""
BINARY = (".pdf", ".doc", ".docx", ".xls", ".xlsx", ".jpg", ".jpeg", ".png", ".gif", ".webp")
"""Files that are sent as documents or images; of all others the text is read."""
MAX_FILE_BYTES = 1024**3


@dataclass(frozen=True)
class WholeFiles(Source):
    """
    One row a file, in the order of their names.

    Columns are `name` (String, the path below the pattern's folders), and `text` (String) or `content` (Binary).
    """

    pattern: str
    """A local file, pattern or folder; of a folder all files below it, hidden ones left out."""

    @override
    def describe(self) -> str:
        return f"files {self.pattern}"

    @override
    def columns(self) -> list[str] | None:
        suffix = Path(self.pattern).suffix.lower()
        return ["name", "content" if suffix in BINARY else "text"] if suffix else None

    @override
    def n_rows(self) -> int:
        return len(self._paths)

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        names: list[str] = []
        contents: list[bytes] = []
        n_bytes = 0
        with explained(self._what):
            for path in self._paths:
                names.append(path.relative_to(self._folder).as_posix())
                contents.append(self._read(path))
                n_bytes += len(contents[-1])
                if len(names) >= BATCH_ROWS or n_bytes >= BYTES_AT_ONCE:
                    yield self._frame(names, contents)
                    names, contents, n_bytes = [], [], 0
            if names:
                yield self._frame(names, contents)

    def _read(self, path: Path) -> bytes:
        if (n_bytes := path.stat().st_size) > MAX_FILE_BYTES:
            raise ConfigError(f"{self._what}: {path} has {n_bytes:,} bytes; a file of one row has at most 1 GiB")
        content = path.read_bytes()
        if not self._is_binary:
            content = content.removeprefix(b"\xef\xbb\xbf")
            if problem := encoding_problem(content):
                raise ConfigError(f"source {path}: {problem}")
        return content

    def _frame(self, names: list[str], contents: list[bytes]) -> pl.DataFrame:
        values = pl.Series("content", contents, dtype=pl.Binary)
        column = values if self._is_binary else values.cast(pl.String).alias("text")
        return pl.DataFrame([pl.Series("name", names, dtype=pl.String), column])

    @property
    def _is_binary(self) -> bool:
        return self._suffixes[0] in BINARY

    @cached_property
    def _suffixes(self) -> list[str]:
        suffixes = sorted({path.suffix.lower() for path in self._paths})
        kinds = {suffix in BINARY for suffix in suffixes}
        if len(kinds) > 1:
            raise ConfigError(
                f"{self._what} matches texts and documents or images ({', '.join(suffixes)}); name one kind, such as "
                f"*{suffixes[0]}"
            )
        return suffixes

    @cached_property
    def _paths(self) -> list[Path]:
        if "://" in self.pattern:
            raise ConfigError(f"{self._what} is not local; copy the files first, for example with `aws s3 sync`")
        return [Path(name) for name in matching_files(self.pattern, "source.files")]

    @property
    def _folder(self) -> Path:
        return Path(self.pattern) if Path(self.pattern).is_dir() else fixed_part(self.pattern)

    @property
    def _what(self) -> str:
        return f"source.files {self.pattern!r}"
