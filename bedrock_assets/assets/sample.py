"""What Dagster shows of rows and texts, as Markdown. Nothing that is shown can fail the work that it is about."""

import json
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, cast

import dagster as dg
import polars as pl
from polars.exceptions import PanicException

from bedrock_assets.errors import first_line
from bedrock_assets.pipeline.values import texts_of

Params = ParamSpec("Params")
SAMPLE_CHARS = 160
READ_CHARS = 2_000
INLINE_CHARS = 999
"""Markdown up to this length stands on an asset's page; a longer one is behind a click (Dagster 1.13)."""
_CELL_CHARS = (SAMPLE_CHARS, 120, 90, 70, 50, 35)
_BREAKS = str.maketrans({"\r": " ", "\n": " ", "\u2028": " ", "\u2029": " "})


def never_fails(make: Callable[Params, dict[str, Any]]) -> Callable[Params, dict[str, Any]]:
    """
    A function that makes metadata, with its error as the metadata if it raises.

    The files are written by then: a run that failed here would be run again, and what is paid would not be shown.
    """

    @wraps(make)
    def guarded(*args: Params.args, **kwargs: Params.kwargs) -> dict[str, Any]:
        try:
            return make(*args, **kwargs)
        except (Exception, PanicException) as error:  # whatever a value, a type or a file brings with it
            return {"metadata_error": f"{type(error).__name__}: {first_line(error)}"}

    return guarded


def sample_of(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The rows of a frame, which should be few: values are cut so that the table stands on the page, if it can."""
    tables = (_table(frame, n_chars) for n_chars in _CELL_CHARS)
    whole = next(tables)
    if len(whole) > INLINE_CHARS:
        whole = next((table for table in tables if len(table) <= INLINE_CHARS), whole)
    return dg.MetadataValue.md(whole)


def records_of(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """
    Each row as a list of its values: a page is too narrow for a table of many columns.

    Values are cut, and then rows left out, so that they stand on the page, if they can.
    """
    lists = [_lists(frame.head(n), n_chars) for n in range(len(frame), 0, -1) for n_chars in _CELL_CHARS[:-1]]
    lists = lists or [""]
    return dg.MetadataValue.md(next((shown for shown in lists if len(shown) <= INLINE_CHARS), lists[0]))


def records_in_full(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """As `records_of`, to be read with care: all rows, values cut at `READ_CHARS`; behind a click on a page."""
    return dg.MetadataValue.md(_lists(frame, READ_CHARS))


def quoted(text: str) -> dg.MarkdownMetadataValue:
    """A prompt or an answer as a quotation, a JSON object as a list of its keys, cut so that it stands on the page."""
    for n_chars in range(INLINE_CHARS, 0, -100):
        shown = _block(text if len(text) <= n_chars else f"{text[:n_chars]} ...")
        if len(shown) <= INLINE_CHARS:
            return dg.MetadataValue.md(shown)
    return dg.MetadataValue.md("> ...")


def _block(text: str) -> str:
    fields = _fields(text)
    if fields:
        return "\n".join(f"- **{_escaped(name)}**: {_escaped(value)}" for name, value in fields.items())
    lines = text.replace("<", "&lt;").splitlines() or [""]
    return "\n".join(f"> {line}  " for line in lines)  # two spaces at its end break a line


def _fields(text: str) -> dict[str, str]:
    """The keys of a JSON object, values as text; empty if it is none."""
    try:
        found: object = json.loads(text)
    except ValueError:
        return {}
    fields = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in fields.items()
    }


def columns_for_people(
    columns: Iterable[str], prompt: Iterable[str], answer: Iterable[str], left_out: Iterable[str], most: int = 10
) -> list[str]:
    """
    Which columns a sample shows: those of the prompt, then those of the answer, then the others.

    Args:
        columns: All that there are, in their order.
        left_out: Columns that say nothing about the data, such as token counts.
        most: As many columns as a page has room for.
    """
    there, hidden = list(columns), {*left_out}
    wanted = dict.fromkeys([*prompt, *answer, *there])
    return [name for name in wanted if name in there and name not in hidden][:most]


def _table(frame: pl.DataFrame, n_chars: int) -> str:
    cells = [_cells(frame, name, n_chars) for name in frame.columns]
    header = f"| {' | '.join(map(_escaped, frame.columns))} |\n|{'---|' * len(frame.columns)}\n"
    return header + "\n".join(f"| {' | '.join(row)} |" for row in zip(*cells, strict=True))


def _lists(frame: pl.DataFrame, n_chars: int) -> str:
    named = [[f"- **{_escaped(name)}**: {cell}" for cell in _cells(frame, name, n_chars)] for name in frame.columns]
    rows = ("\n".join(lines) for lines in zip(*named, strict=True))
    return "\n\n".join(f"row {number}\n\n{lines}" for number, lines in enumerate(rows, 1))


def _cells(frame: pl.DataFrame, name: str, n_chars: int) -> list[str]:
    return [_short(text or "", n_chars) for text in texts_of(frame, name)]


def _short(text: str, n_chars: int) -> str:
    return _escaped(text if len(text) <= n_chars else text[:n_chars] + " ...")


def _escaped(text: str) -> str:
    return text.translate(_BREAKS).replace("|", "\\|").replace("<", "&lt;")
