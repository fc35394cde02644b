"""What Dagster shows of rows, as a Markdown table. Nothing that is shown can fail the work that it is about."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import dagster as dg
import polars as pl
from polars.exceptions import PanicException

from bedrock_assets.columns import column
from bedrock_assets.errors import first_line
from bedrock_assets.pipeline.ids import holds_binary
from bedrock_assets.pipeline.templates import as_text

Params = ParamSpec("Params")
SAMPLE_CHARS = 160
_LIST_ITEMS = 3
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
    """The rows of a frame, which should be few."""
    cells = [_cells(frame, name) for name in frame.columns]
    header = f"| {' | '.join(map(_escaped, frame.columns))} |\n|{'---|' * len(frame.columns)}\n"
    body = "\n".join(f"| {' | '.join(row)} |" for row in zip(*cells, strict=True))
    return dg.MetadataValue.md(header + body)


def _cells(frame: pl.DataFrame, name: str) -> list[str]:
    """A column's values as text; a column that cannot be shown says why, and the others are shown."""
    dtype = frame.schema[name]
    try:
        if isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_float():
            return [_numbers(values) for values in frame[name].to_list()]
        if dtype == pl.Binary:
            return [_short("" if value is None else str(value[:SAMPLE_CHARS])) for value in frame[name].to_list()]
        if holds_binary(dtype):
            return [_short("" if value is None else str(value)) for value in frame[name].to_list()]
        plain = dtype == pl.Null or dtype.is_float()
        texts = frame.select(column(name).cast(pl.String) if plain else as_text(name, dtype)).to_series()
        return [_short("" if text is None else text) for text in texts]
    except (Exception, PanicException) as error:  # one value must not hide the others
        return [_short(f"({dtype}: {first_line(error)})")] * len(frame)


def _numbers(values: list[float | None] | None) -> str:
    """The first numbers of a vector, and its length."""
    if values is None:
        return ""
    shown = ["null" if value is None else f"{value:.3g}" for value in values[:_LIST_ITEMS]]
    return f"[{', '.join(shown)}{f', ... {len(values)}' if len(values) > len(shown) else ''}]"


def _short(text: str) -> str:
    return _escaped(text if len(text) <= SAMPLE_CHARS else text[:SAMPLE_CHARS] + " ...")


def _escaped(text: str) -> str:
    return text.translate(_BREAKS).replace("|", "\\|").replace("<", "&lt;")
