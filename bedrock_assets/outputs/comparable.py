"""
Known and given answers as texts that are equal where the answers are, whatever the types of their columns.

Either column decides for both: if one holds numbers, so does the other, as text or not; the same for true and false,
and for lists. Labels from a CSV file are texts, and those that pandas has written may be `5.0`.
"""

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.gold import GoldSpec

_TRUE, _FALSE = ["true", "t", "yes", "y", "1", "1.0"], ["false", "f", "no", "n", "0", "0.0"]
_EXACT = 2**53
"""From here on not every whole number is a Float64."""
_WHOLE = r"^[+-]?\d+$"
_SAYS_NOTHING = r"""[\s.,;:!?\u2026"'`\u2018\u2019\u201c\u201d\u00ab\u00bb()\[\]{}*_]+"""
_AROUND = f"^{_SAYS_NOTHING}|{_SAYS_NOTHING}$"
"""Punctuation around an answer that says nothing; a sign, `%` and `#` do."""


def comparable(schema: pl.Schema, gold: GoldSpec, answer: str) -> tuple[pl.Expr, pl.Expr]:
    """
    The column of `gold` and the column *answer* as String, null where they are null; NaN is null.

    Args:
        schema: Of the frame that has both.
    """
    names = (gold.column, answer)
    dtypes = [schema[name] for name in names]
    texts = [_text(name, dtype) for name, dtype in zip(names, dtypes, strict=True)]
    if any(isinstance(dtype, pl.List | pl.Array) for dtype in dtypes):
        known, given = map(_items, texts)
    elif any(dtype == pl.Boolean for dtype in dtypes):
        known, given = map(_truth, texts)
    elif any(dtype.is_numeric() for dtype in dtypes):
        known, given = map(_number, texts)
    elif gold.match == "normalized":
        known, given = map(_normalized, texts)
    else:
        known, given = texts
    return known, given


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    value = column(name)
    if isinstance(dtype, pl.List | pl.Array):
        return pl.format("[{}]", value.cast(pl.List(pl.String)).list.join(", "))
    return (value.fill_nan(None) if dtype.is_float() else value).cast(pl.String).str.strip_chars()


def _number(text: pl.Expr) -> pl.Expr:
    """`5`, `5.0` and `5.00` are one number; what is none stays as it is."""
    value = text.cast(pl.Float64, strict=False).fill_nan(None)
    is_whole = (value == value.round()) & (value.abs() < _EXACT)
    plain = pl.when(is_whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))
    is_large = text.str.contains(_WHOLE) & (value.abs() >= _EXACT)
    return pl.when(value.is_null() | is_large).then(text.str.strip_prefix("+")).otherwise(plain)


def _truth(text: pl.Expr) -> pl.Expr:
    lower = text.str.to_lowercase()
    found = pl.when(lower.is_in(_TRUE)).then(pl.lit("true")).when(lower.is_in(_FALSE)).then(pl.lit("false"))
    return found.otherwise(lower)


def _items(text: pl.Expr) -> pl.Expr:
    """Items between commas, each once and in order, in brackets; quotes say nothing. A blank text is no list."""
    parts = text.str.strip_chars("[] ").str.split(",").list.eval(pl.element().str.strip_chars("\"' "))
    items = parts.list.eval(pl.element().filter(pl.element() != "")).list.unique().list.sort()
    return pl.when(text == "").then(text).otherwise(pl.format("[{}]", items.list.join(", ")))


def _normalized(text: pl.Expr) -> pl.Expr:
    """In lower case, with single spaces, and without punctuation around it; nothing becomes empty by that."""
    plain = text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ")
    bare = plain.str.replace_all(_AROUND, "")
    return pl.when(bare == "").then(plain).otherwise(bare)
