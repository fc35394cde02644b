"""Values of a column as people read them: no value of any type may fail what is only shown."""

from collections.abc import Sequence

import polars as pl
from polars.exceptions import PanicException

from bedrock_assets.columns import column
from bedrock_assets.errors import first_line
from bedrock_assets.pipeline.ids import holds_binary
from bedrock_assets.pipeline.templates import as_text

N_NUMBERS = 3
"""Numbers shown of a vector."""
N_BYTES = 160


def texts_of(frame: pl.DataFrame, name: str) -> list[str | None]:
    """
    A column's values as text, None for null; a column that cannot be shown says why in each row.

    Args:
        frame: A few rows.
    """
    dtype, values = frame.schema[name], frame[name]
    try:
        if isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_float():
            return [None if vector is None else _vector(vector) for vector in values.to_list()]
        if dtype == pl.Binary:
            return [None if value is None else str(value[:N_BYTES]) for value in values.to_list()]
        if holds_binary(dtype):
            return [None if value is None else str(value) for value in values.to_list()]
        plain = dtype == pl.Null or dtype.is_float()
        texts = frame.select(column(name).cast(pl.String) if plain else as_text(name, dtype)).to_series()
        return texts.to_list()
    except (Exception, PanicException) as error:  # one value must not hide the others
        return [f"({dtype}: {first_line(error)})"] * len(frame)


def _vector(values: Sequence[float | None]) -> str:
    """The first numbers of a vector, and its length."""
    shown = ["null" if value is None else f"{value:.3g}" for value in values[:N_NUMBERS]]
    return f"[{', '.join(shown)}{f', ... {len(values)}' if len(values) > len(shown) else ''}]"
