"""Groups rows that failed for the same reason: errors that differ only in numbers, ids or quotations are one."""

import polars as pl

PATTERN_CHARS = 160
"""Characters of a pattern; errors whose patterns begin with the same ones are one group."""
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_KEY, _QUOTATION = rf"([{{,]\s*{_QUOTED}\s*:)|{_QUOTED}", r"(^|[\s(\[{=:,])'[^']*'"
_ID = r"[\w-]*\d[\w-]*(?:[.,:/][\w-]*\d[\w-]*)*|\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{16,}\b|\b[a-fA-F]{16,}\b"
"""Matches numbers, and ids, which are words with a digit in them."""


def error_pattern(message: pl.Expr) -> pl.Expr:
    """
    A String expression: *message* with `#` in place of quotations, ids and numbers.

    The keys of JSON are kept: output that is not understood differs in them where it differs in kind.
    """
    bare = message.fill_null("").str.replace_all(_KEY, "${1}#").str.replace_all(_QUOTATION, "${1}#")
    return bare.str.replace_all(_ID, "#").str.replace_all("##+", "#").str.head(PATTERN_CHARS)


def group_errors(rows: pl.DataFrame) -> pl.DataFrame:
    """
    Group failed rows; the most frequent failure comes first.

    Args:
        rows: record_id, error_code and error_message, all String, and possibly shard.

    Returns:
        error_code, `pattern`, `n_rows`, `example` (a record id), `error_message` (that record's), and `shards` if
        there are any, a list.
    """
    shards = {"shards": pl.col("shard").unique(maintain_order=True)} if "shard" in rows.columns else {}
    return (
        rows.group_by("error_code", error_pattern(pl.col("error_message")).alias("pattern"), maintain_order=True)
        .agg(
            n_rows=pl.len(),
            example=pl.col("record_id").first(),
            error_message=pl.col("error_message").first(),
            **shards,
        )
        .sort("n_rows", descending=True, maintain_order=True)
    )
