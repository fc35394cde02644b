"""Rows to read, from all over the table, each value as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import polars as pl

from bedrock_assets.columns import columns
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.redact import shown_to_people
from bedrock_assets.pipeline.values import texts_of
from bedrock_assets.storage.manifests import Part
from bedrock_assets.storage.publication import Publication

N_ROWS = 20
MAX_CHARS = 4_000


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
            rows = shown_to_people(pipeline.spec.redact, rows)
            found += _rows_of(rows, pipeline, inputs, answers)
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


def _rows_of(rows: pl.DataFrame, pipeline: Pipeline, inputs: Sequence[str], answers: dict[str, str]) -> list[Row]:
    ours = {name: texts_of(rows, own) for name, own in _ours(pipeline).items()}
    texts = {name: list(map(_cut, texts_of(rows, name))) for name in (*inputs, *answers)}
    return [
        Row(
            ours["record_id"][i] or "",
            ours["status"][i] or "",
            {name: texts[name][i] for name in inputs},
            {title: texts[name][i] for name, title in answers.items()}
            if ours["status"][i] == "ok"
            else {name: _cut(ours[name][i]) for name in ("error_code", "error_message")}
            | {title: text for name, title in answers.items() if (text := texts[name][i]) is not None},
        )
        for i in range(len(rows))
    ]


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]} … ({len(text):,} characters)"
