"""Replaces personal data in columns of rows, before a prompt is made of them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, repeat
from typing import Any, NamedTuple

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.redact import KINDS, Kind, RedactSpec
from bedrock_assets.pipeline.detectors import DETECTORS, Detector, Tokens, replace
from bedrock_assets.pipeline.ids import holds_binary
from bedrock_assets.pipeline.templates import as_text

_HIT, _NONE = "__hit", pl.Series(dtype=pl.UInt32)
Replace = Callable[[str, Tokens, Sequence[Detector]], tuple[str, list[Kind]]]


class Redacted(NamedTuple):
    """Rows without what was found."""

    rows: pl.DataFrame
    """The columns that were looked at as the text that a prompt shows, String; the others as they were."""
    counts: pl.DataFrame
    """For each row, how many values of each kind were replaced: a column for each kind, UInt32."""


@dataclass(frozen=True)
class Redactor:
    """What is replaced, and where. The same row always gives the same text, and tokens say nothing of the values."""

    columns: tuple[str, ...]
    kinds: tuple[Kind, ...] = KINDS

    def redact(self, rows: pl.DataFrame) -> Redacted:
        """
        Replace what is found by tokens; the same value has the same token in all columns of a row.

        Args:
            rows: Columns that are not there are left out.

        Raises:
            PromptError: A column holds bytes.
        """
        names = [name for name in self.columns if name in rows.columns]
        texts = rows.select(as_text(name, rows.schema[name]).alias(name) for name in names)
        # Most rows have nothing, which polars tells in one pass; only the others leave it.
        may_hit = pl.any_horizontal(pl.lit(value=False), *(_has(name, self.detectors) for name in names))
        index = texts.select(may_hit.fill_null(value=False).alias(_HIT))[_HIT].arg_true() if names else _NONE
        found = self._replaced(texts[index], [rows.schema[name].is_nested() for name in names]) if names else []
        columns = [
            texts[name].clone().scatter(index, pl.Series([row[i] for row, _ in found], dtype=pl.String))
            for i, name in enumerate(names)
        ]
        return Redacted(rows.with_columns(columns), self._counts(len(rows), index, [kinds for _, kinds in found]))

    @cached_property
    def detectors(self) -> tuple[Detector, ...]:
        """Those of the kinds that are looked for."""
        return tuple(one for one in DETECTORS if one.kind in self.kinds)

    def _replaced(self, texts: pl.DataFrame, is_json: Sequence[bool]) -> list[tuple[list[str | None], list[Kind]]]:
        """Each row's texts, and the kinds of the values that were replaced in them."""
        columns = []
        for name, nested in zip(texts.columns, is_json, strict=True):
            hints = texts.select(_has(name, [one]).alias(str(i)) for i, one in enumerate(self.detectors))
            columns.append(zip(texts[name], hints.iter_rows(), repeat(_nested if nested else replace)))
        return [self._row(row) for row in zip(*columns, strict=True)]

    def _row(self, row: Iterable[tuple[str | None, tuple[bool, ...], Replace]]) -> tuple[list[str | None], list[Kind]]:
        tokens, kinds, texts = Tokens(), list[Kind](), list[str | None]()
        for value, hints, replaces in row:
            text, found = (None, []) if value is None else replaces(value, tokens, [*compress(self.detectors, hints)])
            texts.append(text)
            kinds += found
        return texts, kinds

    def _counts(self, n_rows: int, index: pl.Series, found: Sequence[list[Kind]]) -> pl.DataFrame:
        def counts(kind: Kind) -> pl.Series:
            zeros = pl.zeros(n_rows, pl.UInt32, eager=True)
            return zeros.scatter(index, pl.Series([kinds.count(kind) for kinds in found], dtype=pl.UInt32))

        return pl.DataFrame({kind: counts(kind) for kind in self.kinds})


def shown_to_people(redact: RedactSpec | None, rows: pl.DataFrame) -> pl.DataFrame:
    """Some rows as Dagster may show them: without what `redact` keeps from the model."""
    if redact is None:
        return rows
    texts = [name for name in redact.columns if name in rows.columns and not holds_binary(rows.schema[name])]
    return Redactor(tuple(texts), redact.kinds).redact(rows).rows


def _has(name: str, detectors: Sequence[Detector]) -> pl.Expr:
    """Whether one of the detectors may find something in a column."""
    literal = [column(name).str.contains(one.hint, literal=True) for one in detectors if one.hint == "@"]
    patterns = "|".join(f"(?:{one.hint})" for one in detectors if one.hint != "@")
    return pl.any_horizontal(*literal, *([column(name).str.contains(patterns)] if patterns else []))


def _nested(value: str, tokens: Tokens, detectors: Sequence[Detector]) -> tuple[str, list[Kind]]:
    """A list or a struct as JSON: each name and value is looked at, as an escape would hide what is beside it."""
    found = list[Kind]()

    def clean(text: str) -> str:
        text, kinds = replace(text, tokens, detectors)
        found.extend(kinds)
        return text

    def walk(node: Any) -> Any:
        match node:
            case dict():
                return _distinct((clean(name), walk(child)) for name, child in node.items())
            case list():
                return [walk(child) for child in node]
            case str():
                return clean(node)
            case int() | float() if not isinstance(node, bool):
                text = str(node)
                return node if (cleaned := clean(text)) == text else cleaned
            case _:
                return node

    walked = walk(json.loads(value))
    return (json.dumps(walked, ensure_ascii=False, separators=(",", ":")) if found else value), found


def _distinct(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object of these members; a name that occurs again, as two names may have one token, is numbered."""
    named = dict[str, Any]()
    for name, value in members:
        number, free = 1, name
        while free in named:
            number, free = number + 1, f"{name} ({number + 1})"
        named[free] = value
    return named
