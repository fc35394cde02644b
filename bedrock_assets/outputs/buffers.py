"""
Holds answers in the order in which they were read, until the order of the rows is known.

Vectors of one length are kept outside of polars' memory and are reordered without a second copy. They are most of what
a collect run holds, 200 MB for 50,000 vectors of 1,024 floats, and polars' allocator keeps pages for seconds after they
are freed, so that two copies one after the other take as much memory as two at once.
"""

from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

import polars as pl


@dataclass
class SeriesBuffer:
    """Holds values of any dtype."""

    dimensions: None = None
    blocks: list[pl.Series] = field(default_factory=list)
    n: int = 0

    def add(self, values: pl.Series) -> None:
        """Append values without nulls, all of one dtype."""
        self.blocks.append(values)
        self.n += len(values)

    def gather(self, positions: pl.Series) -> pl.Series:
        """The values at *positions*, null where the position is null."""
        return pl.concat(self.blocks).gather(positions)

    def cast(self, values: pl.Expr) -> pl.Expr:
        """Cast *values* to the dtype that `add` takes."""
        return values


@dataclass
class VectorBuffer:
    """Holds Float32 vectors of one length."""

    dimensions: int
    blocks: list[Any] = field(default_factory=list)
    """numpy arrays of shape (n_vectors, dimensions). Each has memory of its own, which is freed when it is dropped."""
    n: int = 0

    def cast(self, vectors: pl.Expr) -> pl.Expr:
        """Cast lists or arrays to the dtype that `add` takes, null where the length differs."""
        usable = pl.when(vectors.cast(pl.List(pl.Float32)).list.len() == self.dimensions).then(vectors)
        return usable.cast(pl.Array(pl.Float32, self.dimensions))

    def add(self, vectors: pl.Series) -> None:
        """Append a series of dtype Array(Float32, dimensions) without nulls."""
        if len(vectors):
            block = _block(len(vectors), self.dimensions)
            block[:] = vectors.to_numpy()
            self.blocks.append(block)
            self.n += len(vectors)

    def gather(self, positions: pl.Series) -> pl.Series:
        """
        The vectors at *positions*, null where the position is null. The buffer is empty afterwards.

        Args:
            positions: Integers that count vectors in the order in which they were added.

        Returns:
            Array(Float32, dimensions).
        """
        import numpy as np

        vectors, first = _block(len(positions), self.dimensions), 0
        wanted = positions.cast(pl.Int64).fill_null(-1).to_numpy()
        rows = np.argsort(wanted, kind="stable")
        while self.blocks:
            block = self.blocks.pop(0)
            start, stop = np.searchsorted(wanted, [first, first + len(block)], sorter=rows)
            vectors[rows[start:stop]] = block[wanted[rows[start:stop]] - first]
            first += len(block)
        self.n = 0
        if not (wanted < 0).any():
            return pl.Series(vectors, dtype=pl.Array(pl.Float32, self.dimensions))
        return _with_nulls(vectors, wanted < 0)


def _with_nulls(vectors: Any, is_null: Any) -> pl.Series:
    """
    The vectors, null where *is_null*, without a copy: polars alone would make one.

    Only where there are nulls, as loading pyarrow takes 0.2 s and 60 MB.
    """
    import pyarrow as pa

    dimensions = vectors.shape[1]
    array = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimensions, mask=pa.array(is_null))
    return pl.Series(array, dtype=pl.Array(pl.Float32, dimensions))


def buffer_for(dimensions: int | None) -> SeriesBuffer | VectorBuffer:
    """A buffer for vectors of that length; for values of any dtype if it is None."""
    return SeriesBuffer() if dimensions is None else VectorBuffer(dimensions)


def _block(n: int, dimensions: int) -> Any:
    import numpy as np

    memory = mmap(-1, max(1, 4 * n * dimensions))
    return np.frombuffer(memory, dtype=np.float32, count=n * dimensions).reshape(n, dimensions)
