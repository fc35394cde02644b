"""Rows to read, from all over the table, each value as text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random
from typing import Any

import polars as pl

from bedrock_assets.columns import columns
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.manifests import Part
from bedrock_assets.storage.publication import Publication

N_ROWS = 20
MAX_CHARS = 4_000
N_NUMBERS = 4
"""Numbers shown of a vector."""


@dataclass(frozen=True)
class Row:
    """One row of the table; values as text, None for null."""

    record_id: str
    status: str
    input: dict[str, str | None]
    answer: dict[str, str | None]
    """By the answer's own name; the error where there is no answer."""


def random_rows(
    table: Publication, pipeline: Pipeline, inputs: Sequence[str], answers: dict[str, str], random: Random
) -> list[Row]:
    """
    Twenty rows, or all, in the table's order.

    Args:
        inputs: Columns of the input to show.
        answers: Answer columns to show, and their own names.
    """
    n_rows, first, found = table.manifest.n_rows, 0, list[Row]()
    places = sorted(random.sample(range(n_rows), min(N_ROWS, n_rows)))
    for part in table.manifest.parts:
        within = [place - first for place in places if first <= place < first + part.n_rows]
        if within:
            rows = _read(table, part, [*inputs, *answers, *_ours(pipeline).values()], within)
            found += [_row(row, pipeline, inputs, answers) for row in rows.iter_rows(named=True)]
        first += part.n_rows
    return found


def _ours(pipeline: Pipeline) -> dict[str, str]:
    """Our columns that tell of a row what became of it."""
    names = ("status", "error_code", "error_message")
    return {"record_id": pipeline.record_id, **{name: pipeline.answer_columns[name] for name in names}}


def _read(table: Publication, part: Part, names: Sequence[str], places: Sequence[int]) -> pl.DataFrame:
    def at(rows: pl.LazyFrame) -> pl.LazyFrame:
        wanted = rows.select(columns(names))
        return pl.concat([wanted.slice(place, 1) for place in places])  # each reads one row group

    return table.read(part, at)


def _row(row: dict[str, Any], pipeline: Pipeline, inputs: Sequence[str], answers: dict[str, str]) -> Row:
    ours = {name: row[column] for name, column in _ours(pipeline).items()}
    shown = {title: as_text(row[name]) for name, title in answers.items()}
    if ours["status"] != "ok":
        shown = {name: as_text(ours[name]) for name in ("error_code", "error_message")} | {
            name: text for name, text in shown.items() if text is not None
        }
    return Row(str(ours["record_id"]), str(ours["status"]), {name: as_text(row[name]) for name in inputs}, shown)


def as_text(value: Any) -> str | None:
    """A value for people, cut; None for null."""
    match value:
        case None:
            return None
        case str():
            text = value
        case bytes():
            text = f"({len(value):,} bytes)"
        case list() if value and all(isinstance(item, float | None) for item in value):
            return _vector(value)
        case dict() | list():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            text = str(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]} … ({len(text):,} characters)"


def _vector(values: Sequence[float | None]) -> str:
    shown = ["null" if value is None else f"{value:.3g}" for value in values[:N_NUMBERS]]
    return ", ".join(chain(shown, [f"… ({len(values):,} numbers)"] if len(values) > N_NUMBERS else []))
