"""Which of two texts a comparison prefers: each pair was asked about in both orders, in two rows of the table."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from bedrock_assets.config.task import POSITION, POSITIONS, WINNERS
from bedrock_assets.errors import DataError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.keys import preferences_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import Store

VERDICTS = ("a", "b", "tie", "inconsistent", "incomplete")
"""`inconsistent`: the order decided; `incomplete`: one of the two questions, or both, has no answer."""


@dataclass(frozen=True)
class Preferences:
    """What the pairs add up to."""

    key: str
    verdicts: Counter[str]
    n_first: int
    """Answers that prefer the text that was shown first."""
    n_answers: int

    @property
    def n_pairs(self) -> int:
        """Rows of the file: one for each row of the input."""
        return self.verdicts.total()


def join_preferences(store: Store, pipeline: Pipeline, table: TableManifest) -> Preferences:
    """
    Write `{pipeline}/preferences.parquet`, one row for each row of the input, in its order.

    The file has the input's columns; `preferred` (one of `VERDICTS`); `winner_a_first` and `winner_b_first` (`a`, `b`,
    `tie`, or null), `reason_a_first` and `reason_b_first`, all String.

    Raises:
        DataError: The table is not one of pairs.
    """
    key, verdicts, seen = preferences_key(pipeline.spec.name), Counter[str](), Counter[str]()
    prefix = pipeline.spec.output_prefix

    def frames() -> Iterator[pl.DataFrame]:
        for rows in _pairs(store, pipeline, table):
            seen.update(rows[prefix + "winner"].drop_nulls())
            joined = _joined(pipeline, rows)
            verdicts.update(joined[prefix + "preferred"])
            yield joined

    with store.writer(key) as file:
        write_frames(frames(), file)
    return Preferences(key, verdicts, seen[WINNERS[0]], seen.total())


def _pairs(store: Store, pipeline: Pipeline, table: TableManifest) -> Iterator[pl.DataFrame]:
    """The table, part by part, where the second row of a pair is never in another frame than the first."""
    rest: list[pl.DataFrame] = []
    for part in table.parts:
        rows = pl.concat([*rest, store.read_parquet(part.key)])
        rest = [rows.tail(len(rows) % 2)]
        rows = rows.head(len(rows) - len(rest[0]))
        positions = [rows[POSITION].gather_every(2, offset) for offset in range(2)]
        if any((found != expected).any() for found, expected in zip(positions, POSITIONS, strict=True)):
            break
        if len(rows):
            yield rows
    if any(map(len, rest)):
        raise DataError(f"{pipeline.spec.name}/joined_table has no two rows for each pair; materialize it again")


def _joined(pipeline: Pipeline, rows: pl.DataFrame) -> pl.DataFrame:
    prefix = pipeline.spec.output_prefix
    ours = [POSITION, pipeline.record_id, *pipeline.answer_columns.values()]
    said = rows.select(
        winner=pl.when(pl.col(prefix + "winner") == WINNERS[2])
        .then(pl.lit("tie"))
        .when((pl.col(prefix + "winner") == WINNERS[0]) == (pl.col(POSITION) == POSITIONS[0]))
        .then(pl.lit("a"))
        .otherwise(pl.when(pl.col(prefix + "winner").is_not_null()).then(pl.lit("b"))),
        reason=prefix + "reason",
    )
    a_first, b_first = (said.gather_every(2, offset) for offset in range(2))
    both = pl.DataFrame(
        {
            "winner_a_first": a_first["winner"],
            "winner_b_first": b_first["winner"],
            "reason_a_first": a_first["reason"],
            "reason_b_first": b_first["reason"],
        }
    )
    first, second = pl.col("winner_a_first"), pl.col("winner_b_first")
    preferred = (
        pl.when(first.is_null() | second.is_null())
        .then(pl.lit("incomplete"))
        .otherwise(pl.when(first == second).then(first).otherwise(pl.lit("inconsistent")))
    )
    verdicts = both.select(preferred.alias("preferred"), pl.all())
    inputs = rows.drop(ours).gather_every(2)
    return inputs.hstack(verdicts.rename({name: prefix + name for name in verdicts.columns}))
