"""Texts cut to a length before they are embedded, so that a long one is an answer with a note and not an error."""

import polars as pl

from bedrock_assets.config.task import BYTES_PER_TOKEN, TruncateSpec


def cut(text: pl.Expr, spec: TruncateSpec) -> pl.Expr:
    """
    The beginning of each text.

    Args:
        text: String.

    Returns:
        String, at most as long as *spec* says; never a part of a character.
    """
    if spec.chars is not None:
        return text.str.head(spec.chars)
    return _head_bytes(text, (spec.tokens or 0) * BYTES_PER_TOKEN)


def note(whole: pl.Expr, sent: pl.Expr) -> pl.Expr:
    """
    What is told of texts that were cut: String, null for all others.

    Args:
        whole, sent: The text before and after, String.
    """
    n_whole, n_sent = whole.str.len_chars(), sent.str.len_chars()
    told = pl.format("the text has {} characters, of which the first {} were sent", n_whole, n_sent)
    return pl.when(n_sent < n_whole).then(told)


_MASK, _CONTINUES = 0xC0, 0x80
"""Of the bytes of UTF-8, those that go on with a character."""


def _head_bytes(text: pl.Expr, n_bytes: int) -> pl.Expr:
    content = text.cast(pl.Binary)
    end = pl.lit(n_bytes)
    for back in range(1, 4):  # a character has four bytes at most
        starts = n_bytes - back + 1
        byte = content.bin.slice(starts, 1).bin.reinterpret(dtype=pl.UInt8, endianness="little")
        inside = (byte & _MASK) == _CONTINUES
        end = pl.when((end == starts) & inside.fill_null(value=False)).then(n_bytes - back).otherwise(end)
    return pl.when(text.str.len_bytes() <= n_bytes).then(text).otherwise(content.bin.slice(0, end).cast(pl.String))
