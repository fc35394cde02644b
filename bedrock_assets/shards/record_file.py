"""Writes records to a JSONL file."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import IO

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.storage.manifests import Digest

_MAX_TEXT_BYTES = 2**31
"""Of one text in polars, with a margin: its lengths have 32 bits."""


@dataclass
class RecordFile:
    """Writes records to a file, and counts and hashes them in the same pass."""

    file: IO[bytes]
    n_records: int = 0
    n_bytes: int = 0
    n_padding: int = 0
    """Records that are copies, to reach Bedrock's minimum."""
    n_redacted: Counter[str] = field(default_factory=Counter[str])
    """Values that were replaced in the rows, by kind, whether the rows are sent or not."""
    digest: Digest | None = field(default_factory=hashlib.sha256)
    """None skips hashing, which takes a third as long as making the records."""

    def write(self, lines: pl.Series) -> None:
        """Append records, one a line: String without nulls."""
        self.append(encoded(lines), len(lines))

    def append(self, content: memoryview, n_records: int) -> None:
        """Append the encoded lines of *n_records* records."""
        self.file.write(content)
        if self.digest:
            self.digest.update(content)
        self.n_records += n_records
        self.n_bytes += len(content)


def encoded(lines: pl.Series) -> memoryview:
    """The UTF-8 bytes of *lines*, String without nulls, with a newline after each."""
    if lines.estimated_size() > _MAX_TEXT_BYTES:
        return _encoded_by_arrow(lines)
    last = pl.Series(lines.name, [""])  # so that a newline follows the last line, too
    return memoryview(pl.concat([lines, last]).str.join("\n").cast(pl.Binary).item())


def _encoded_by_arrow(lines: pl.Series) -> memoryview:
    """As `encoded`, for any size; loading pyarrow takes 0.1 s and 40 MB."""
    # Arrow's classic layout holds the strings end to end, so that no loop is needed.
    array = (lines + "\n").to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, texts = array.buffers()
    if texts is None:
        return memoryview(b"")
    ends = memoryview(offsets).cast("q")
    return memoryview(texts).cast("B")[ends[array.offset] : ends[array.offset + len(array)]]


def padded(lines: pl.Series, first: int) -> pl.Series:
    """Copies of records, String, under padding ids that count from *first*."""
    serial = pl.int_range(first, first + pl.len(), dtype=pl.Int64).cast(pl.String).str.zfill(26)
    rest = column(lines.name).str.replace(r'^\{"recordId":"[^"]*', "")
    return lines.to_frame().select(pl.concat_str(pl.lit('{"recordId":"padding'), serial, rest)).to_series()
