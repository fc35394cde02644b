"""Which of two texts a comparison prefers: the table has two rows for each pair, one for each order of the texts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.task import POSITION, POSITIONS, VERDICT_COLUMNS, WINNERS
from bedrock_assets.errors import DataError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.keys import preferences_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store

VERDICTS = ("a", "b", "tie", "inconsistent", "incomplete")
"""`inconsistent`: the answers differ with the order of the texts; `incomplete`: an answer is missing."""


@dataclass(frozen=True)
class Preferences:
    """Totals over all pairs."""

    key: str
    verdicts: Counter[str]
    n_first: int
    """Answers that prefer the first text."""
    n_answers: int

    @property
    def n_pairs(self) -> int:
        """Rows of the file, one for each row of the input."""
        return self.verdicts.total()


def join_preferences(store: Store, pipeline: Pipeline, table: TableManifest) -> Preferences:
    """
    Write `{pipeline}/preferences.parquet`, with one row for each row of the input, in order.

    The file has the input's columns; `preferred` (one of `VERDICTS`); `winner_a_first` and `winner_b_first` (`a`, `b`,
    `tie`, or null), `reason_a_first` and `reason_b_first`, all String.

    Raises:
        DataError: The table does not have two rows for each pair.
        StoreConflict: Another table is being published.
    """
    key, verdicts, winners = preferences_key(pipeline.spec.name), Counter[str](), Counter[str]()
    prefix = pipeline.spec.output_prefix

    def frames() -> Iterator[pl.DataFrame]:
        for rows in _pairs(store, pipeline, table):
            winners.update(rows[prefix + "winner"].drop_nulls())
            joined = _joined(pipeline, rows)
            verdicts.update(joined[prefix + "preferred"])
            yield joined

    with store.writer(key) as file:
        write_frames(frames(), file)
    return Preferences(key, verdicts, winners[WINNERS[0]], winners.total())


def _pairs(store: Store, pipeline: Pipeline, table: TableManifest) -> Iterator[pl.DataFrame]:
    """The table in frames that never separate the two rows of a pair."""
    rest, publication = list[pl.DataFrame](), Publication(store, pipeline.spec.name, table)
    for part in table.parts:
        rows = pl.concat([*rest, publication.read(part, lambda rows: rows)])
        rest = [rows.tail(len(rows) % 2)]
        rows = rows.head(len(rows) - len(rest[0]))
        positions = [rows[POSITION].gather_every(2, offset) for offset in range(2)]
        if any((actual != expected).any() for actual, expected in zip(positions, POSITIONS, strict=True)):
            break
        if len(rows):
            yield rows
    if any(map(len, rest)):
        raise DataError(f"{pipeline.spec.name}/joined_table does not have two rows for each pair; materialize it again")


def _joined(pipeline: Pipeline, rows: pl.DataFrame) -> pl.DataFrame:
    prefix = pipeline.spec.output_prefix
    ours = [POSITION, pipeline.record_id, *pipeline.answer_columns.values()]
    winner = column(prefix + "winner")
    answers = rows.select(
        winner=pl.when(winner == WINNERS[2])
        .then(pl.lit("tie"))
        .when((winner == WINNERS[0]) == (pl.col(POSITION) == POSITIONS[0]))
        .then(pl.lit("a"))
        .when(winner.is_not_null())
        .then(pl.lit("b")),
        reason=prefix + "reason",
    )
    by_order = {name: answers.gather_every(2, offset) for offset, name in enumerate(("a_first", "b_first"))}
    both = pl.DataFrame(
        {f"{column}_{name}": frame[column] for column in answers.columns for name, frame in by_order.items()}
    )
    first, second = pl.col("winner_a_first"), pl.col("winner_b_first")
    preferred = (
        pl.when(first.is_null() | second.is_null())
        .then(pl.lit("incomplete"))
        .when(first == second)
        .then(first)
        .otherwise(pl.lit("inconsistent"))
    )
    verdicts = both.with_columns(preferred.alias("preferred"))[list(VERDICT_COLUMNS)]
    return rows.drop(ours).gather_every(2).hstack(verdicts.rename(lambda name: prefix + name))
