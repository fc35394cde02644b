"""
Columns and fields by their exact names.

To polars `pl.col("*")` is every column and `pl.col("^a.*$")` a regular expression, in lists as well, and the names of
struct fields are read alike. Names that come from a dataset or from YAML therefore go through these functions.
"""

from collections.abc import Iterable

import polars as pl
import polars.selectors as cs


def column(name: str) -> pl.Expr:
    """The column with exactly this name."""
    return cs.by_name(name).as_expr()


def columns(names: Iterable[str]) -> pl.Expr:
    """The columns with exactly these names, in this order."""
    return cs.by_name(*names).as_expr()


def all_but(names: Iterable[str]) -> pl.Expr:
    """All columns but those with exactly these names."""
    return (~cs.by_name(*names, require_all=False)).as_expr()


def fields(value: pl.Expr, dtype: pl.Struct) -> dict[str, pl.Expr]:
    """The fields of a struct, by name and under their names."""
    plain = value.struct.rename_fields([f"field_{i}" for i in range(len(dtype.fields))])
    return {field.name: plain.struct.field(f"field_{i}").alias(field.name) for i, field in enumerate(dtype.fields)}
