"""
What has changed between a sink and the table, told by comparing the mark of each row.

The identity of a part cannot tell it: shards are cut anew with every change of the dataset, so that one more row gives
all parts another identity. A note of what was sent cannot either: a crash between the sink's commit and the note would
leave it wrong. The marks are in the sink, beside the rows that they tell of, so they are right whatever crashed when,
and rows that somebody else has changed or deleted are found as well.

Both sides are written to files aside and compared some at a time, so memory does not depend on the number of rows.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.errors import DataError
from bedrock_assets.sinks.rows import MARK, Piece, SinkRows
from bedrock_assets.storage.parquet import write_frames

COMPARED_AT_ONCE = 500_000
"""Rows to compare in one pass: about 250 MB."""
IDS_AT_ONCE = 100_000
_THEIRS = {"id": pl.String, "mark": pl.UInt64, "is_ours": pl.Boolean, "is_others": pl.Boolean}
_OURS = {"id": pl.String, "mark": pl.UInt64, "piece": pl.Int32, "row": pl.Int32}
"""What is compared: of marks their hashes, which take less memory; a hash holds for this process only."""


@dataclass
class Changes:
    """What has to be written to a sink and deleted from it, so that it has the rows of the table."""

    rows: SinkRows
    folder: Path
    n_new: int = 0
    n_changed: int = 0
    n_gone: int = 0
    n_unchanged: int = 0
    n_repeated: int = 0
    """Ids that are there more than once, as rows of the pipeline."""
    n_adopted: int = 0
    """Of the changed rows, those that nobody had written."""
    failure: Exception | None = None
    """Why the table could not be read."""
    _passes: list[int] = field(default_factory=list)

    @property
    def n_written(self) -> int:
        """Rows that are new or changed."""
        return self.n_new + self.n_changed

    def __bool__(self) -> bool:
        return bool(self.n_written or self.n_gone)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows to write: those that are new or changed."""
        if not self._passes:
            yield from self.all_frames()
            return
        changed = self._scan("changed")
        for index in changed.select(pl.col("piece").unique().sort()).collect()["piece"]:
            positions = changed.filter(pl.col("piece") == index).select(pl.col("row").sort()).collect()["row"]
            yield self._read(self.rows.pieces[index])[positions]

    def all_frames(self) -> Iterator[pl.DataFrame]:
        """All rows of the table."""
        return map(self._read, self.rows.pieces)

    def _read(self, piece: Piece) -> pl.DataFrame:
        try:
            return self.rows.read(piece)
        except Exception as error:
            self.failure = error
            raise

    def gone(self) -> Iterator[pl.Series]:
        """Ids (String) of the rows to delete."""
        return self._ids("gone")

    def outdated(self) -> Iterator[pl.Series]:
        """Ids (String) of the rows of the sink that are deleted, or replaced by what is written."""
        yield from self.gone()
        yield from self._ids("changed", pl.col("was_there"))

    def repeated(self) -> Iterator[pl.Series]:
        """Ids (String) of rows of the pipeline that are there more than once; each is to be deleted, and written."""
        return self._ids("repeated")

    def _ids(self, what: str, condition: pl.Expr | None = None) -> Iterator[pl.Series]:
        if self._passes:
            found = self._scan(what)
            found = found if condition is None else found.filter(condition)
            for batch in found.select("id").collect_batches(chunk_size=IDS_AT_ONCE):
                yield from (some["id"] for some in batch.iter_slices(IDS_AT_ONCE))

    def _scan(self, what: str) -> pl.LazyFrame:
        return pl.scan_parquet([self.folder / f"{what}-{index}.parquet" for index in self._passes])

    def compare(self, n_there: int) -> None:
        """Compare the two files, in as many passes as keep memory small."""
        n_passes = -(-max(self.rows.publication.manifest.n_rows, n_there) // COMPARED_AT_ONCE)
        self._passes = list(range(n_passes))
        for index in self._passes:
            ours, theirs = (
                pl.scan_parquet(self.folder / f"{side}.parquet")
                .filter(pl.col("id").hash(0) % n_passes == index)
                .collect()
                for side in ("ours", "theirs")
            )
            theirs, repeated = _distinct(theirs)
            repeated.select("id").write_parquet(self.folder / f"repeated-{index}.parquet")
            joined = ours.join(theirs.with_columns(was_there=True), on="id", how="left", suffix="_there")
            _require_not_others(joined)
            is_changed = pl.col("mark").ne_missing(pl.col("mark_there"))
            changed = joined.filter(is_changed)
            gone = theirs.filter(pl.col("is_ours")).join(ours, on="id", how="anti")
            changed.select("id", "piece", "row", pl.col("was_there").fill_null(value=False)).write_parquet(
                self.folder / f"changed-{index}.parquet"
            )
            gone.select("id").write_parquet(self.folder / f"gone-{index}.parquet")
            n_changed = int(changed["was_there"].sum())
            self.n_adopted += n_changed - int(changed["is_ours"].sum())
            self.n_new += len(changed) - n_changed
            self.n_changed += n_changed
            self.n_gone += len(gone)
            self.n_repeated += len(repeated)
            self.n_unchanged += len(joined) - len(changed)


@contextmanager
def found_changes(rows: SinkRows, there: Iterable[pl.DataFrame]) -> Generator[Changes]:
    """
    Compare the table with a sink.

    Args:
        there: What the sink has: String columns `id` and `MARK`, null in rows that nobody has written.

    Raises:
        DataError: An id repeats in the sink in rows that the pipeline has not written, or another pipeline has
            written it.
    """
    with TemporaryDirectory(prefix="sink-") as name:
        changes = Changes(rows, Path(name))
        is_ours = pl.col(MARK).str.starts_with(rows.owner)
        marks = (
            frame.filter(pl.col("id").is_not_null()).select(
                "id",
                mark=pl.col(MARK).hash(0),
                is_ours=is_ours.fill_null(value=False),
                is_others=is_ours.not_().fill_null(value=False),
            )
            for frame in there
        )
        n_there = _write(changes.folder / "theirs.parquet", marks, _THEIRS)
        if not n_there and rows.required is None:
            changes.n_new = rows.publication.manifest.n_rows
        else:
            _write(changes.folder / "ours.parquet", _marks(rows), _OURS)
            changes.compare(n_there)
        yield changes


def _marks(rows: SinkRows) -> Iterator[pl.DataFrame]:
    for index, piece in enumerate(rows.pieces):
        yield rows.read(piece).select(
            column(rows.key).alias("id"),
            mark=pl.col(MARK).hash(0),
            piece=pl.lit(index, pl.Int32),
            row=pl.int_range(pl.len(), dtype=pl.Int32),
        )


def _write(path: Path, frames: Iterable[pl.DataFrame], schema: Mapping[str, type[pl.DataType]]) -> int:
    n_rows = 0

    def counted() -> Iterator[pl.DataFrame]:
        nonlocal n_rows
        yield pl.DataFrame(schema=schema)
        for frame in frames:
            n_rows += len(frame)
            yield frame.select(column(name).cast(dtype) for name, dtype in schema.items())

    write_frames(counted(), path)
    return n_rows


def _distinct(theirs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Each id once, of copies without a mark, so that its row is written anew; and those of which there are copies."""
    copies = theirs.filter(pl.col("id").is_duplicated())
    if others := copies.filter(~pl.col("is_ours"))["id"].head(1).to_list():
        raise DataError(
            f"record id {others[0]!r} is in the sink more than once, so its row cannot be replaced; delete the "
            "copies. Nothing was written"
        )
    repeated = copies.unique("id").with_columns(mark=pl.lit(None, pl.UInt64))
    return (pl.concat([theirs.filter(~pl.col("id").is_duplicated()), repeated]) if len(copies) else theirs), repeated


def _require_not_others(joined: pl.DataFrame) -> None:
    others = joined.filter(pl.col("is_others"))
    if len(others):
        raise DataError(
            f"record id {others['id'][0]!r} is in the sink as a row of another pipeline; write to another table, or "
            "delete that pipeline's rows. Nothing was written"
        )
