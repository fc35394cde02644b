"""Records on their way into a JSONL file."""

import hashlib
from dataclasses import dataclass, field
from typing import IO

import polars as pl

from bedrock_assets.storage.manifests import Digest


@dataclass
class RecordFile:
    """Writes records to a file and keeps count, size and hash in the same pass."""

    file: IO[bytes]
    n_records: int = 0
    n_bytes: int = 0
    n_padding: int = 0
    """Copies among the records."""
    digest: Digest | None = field(default_factory=hashlib.sha256)
    """None where nobody asks for the hash, which takes a third as long as making the records."""

    def write(self, lines: pl.Series) -> None:
        """Append one record a line; *lines* are String without nulls."""
        self.append(encoded(lines), len(lines))

    def append(self, content: memoryview, n_records: int) -> None:
        """Append so many whole lines."""
        self.file.write(content)
        if self.digest:
            self.digest.update(content)
        self.n_records += n_records
        self.n_bytes += len(content)


def encoded(lines: pl.Series) -> memoryview:
    """The bytes of *lines*, String without nulls, each ended by a newline, without a loop over them."""
    # Arrow's classic layout holds the strings end to end.
    ended = (lines + "\n").to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, texts = ended.buffers()
    if texts is None:
        return memoryview(b"")
    ends = memoryview(offsets).cast("q")
    return memoryview(texts).cast("B")[ends[ended.offset] : ends[ended.offset + len(ended)]]


def padded(lines: pl.Series, first: int) -> pl.Series:
    """Copies of records under padding ids, numbered from *first*."""
    serial = pl.int_range(first, first + pl.len(), dtype=pl.Int64).cast(pl.String).str.zfill(26)
    rest = pl.col(lines.name).str.replace(r'^\{"recordId":"[^"]*', "")
    return lines.to_frame().select(pl.concat_str(pl.lit('{"recordId":"padding'), serial, rest)).to_series()
