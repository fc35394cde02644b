"""
Answers as they were read, held until the order of the rows is known.

Vectors of one length lie apart from polars' memory and are brought into order without a second copy. They are most of
what a collect run holds, 200 MB of 50,000 times 1,024 floats, and polars' allocator keeps pages for seconds after they
are freed, so that two copies in turn weigh as much as two at once.
"""

from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

import polars as pl


@dataclass
class SeriesBuffer:
    """Values of any dtype."""

    dimensions: None = None
    pieces: list[pl.Series] = field(default_factory=list)
    n: int = 0

    def add(self, values: pl.Series) -> None:
        """Append values without nulls, all of one dtype."""
        self.pieces.append(values)
        self.n += len(values)

    def take(self, positions: pl.Series) -> pl.Series:
        """The values at *positions*, null where that is null."""
        return pl.concat(self.pieces).gather(positions)

    def fit(self, values: pl.Expr) -> pl.Expr:
        """*values* as they are to be added."""
        return values


@dataclass
class VectorBuffer:
    """Float32 vectors in the order in which they were read."""

    dimensions: int
    blocks: list[Any] = field(default_factory=list)
    """numpy arrays of shape (vectors, dimensions), each with memory of its own that goes back when it is dropped."""
    n: int = 0

    def fit(self, vectors: pl.Expr) -> pl.Expr:
        """Lists or arrays as they are to be added; null where the length is another."""
        usable = pl.when(vectors.cast(pl.List(pl.Float32)).list.len() == self.dimensions).then(vectors)
        return usable.cast(pl.Array(pl.Float32, self.dimensions))

    def add(self, vectors: pl.Series) -> None:
        """Append a series of dtype Array(Float32, dimensions) without nulls."""
        if len(vectors):
            block = _block(len(vectors), self.dimensions)
            block[:] = vectors.to_numpy()
            self.blocks.append(block)
            self.n += len(vectors)

    def take(self, positions: pl.Series) -> pl.Series:
        """
        The vectors at *positions*, null where that is null; nothing is left here.

        Args:
            positions: Integer, counted in the order of reading.
        """
        import numpy as np
        import pyarrow as pa

        found, first = _block(len(positions), self.dimensions), 0
        wanted = positions.cast(pl.Int64).fill_null(-1).to_numpy()
        rows = np.argsort(wanted, kind="stable")
        while self.blocks:
            block = self.blocks.pop(0)
            start, stop = np.searchsorted(wanted, [first, first + len(block)], sorter=rows)
            found[rows[start:stop]] = block[wanted[rows[start:stop]] - first]
            first += len(block)
        self.n = 0
        taken = pa.FixedSizeListArray.from_arrays(
            pa.array(found.reshape(-1)), self.dimensions, mask=pa.array(wanted < 0)
        )
        return pl.Series(taken, dtype=pl.Array(pl.Float32, self.dimensions))


def buffer_for(dimensions: int | None) -> SeriesBuffer | VectorBuffer:
    """For vectors of that length, or for values of any dtype."""
    return SeriesBuffer() if dimensions is None else VectorBuffer(dimensions)


def _block(n: int, dimensions: int) -> Any:
    import numpy as np

    n_bytes = 4 * n * dimensions
    memory = mmap(-1, max(1, n_bytes))
    return np.frombuffer(memory, dtype=np.float32, count=n * dimensions).reshape(n, dimensions)
