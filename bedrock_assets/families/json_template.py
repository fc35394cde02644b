"""
JSON with columns in it: a request as plain JSON values, with polars expressions where rows differ.

Whatever is the same for all rows becomes text once; only columns are encoded per row. Lists may hold objects of
different shapes, such as images and text, which a polars struct cannot.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl


@dataclass(frozen=True)
class Plain:
    """A String expression that needs no escaping in JSON, such as base64."""

    expr: pl.Expr


Tree: TypeAlias = "pl.Expr | Plain | str | float | bool | Mapping[str, Tree] | Sequence[Tree] | None"
"""JSON in which an expression (String, one value per row) stands for a string."""


def encoded(tree: Tree) -> pl.Expr:
    """A String expression: *tree* as JSON without spaces, null where a `Plain` expression is null."""
    parts: list[str | pl.Expr] = []
    for part in _parts(tree):
        if parts and isinstance(part, str) and isinstance(parts[-1], str):
            parts[-1] += part
        else:
            parts.append(part)
    return pl.concat_str([pl.lit(part) if isinstance(part, str) else part for part in parts])


def merged(first: Mapping[str, Tree], second: Mapping[str, Tree]) -> dict[str, Tree]:
    """Two objects as one, deeply; where both have a value the *second* counts."""
    result = dict(first)
    for name, value in second.items():
        before = result.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[name] = merged(before, value) if both else value  # pyright: ignore[reportArgumentType] - both are mappings
    return result


def as_json(expr: pl.Expr) -> pl.Expr:
    """A column's values as JSON; a null becomes `null`."""
    return pl.struct(v=expr).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")


def _parts(tree: Tree) -> Iterator[str | pl.Expr]:
    if isinstance(tree, pl.Expr):
        yield as_json(tree)
    elif isinstance(tree, Plain):
        yield from ('"', tree.expr, '"')
    elif isinstance(tree, Mapping):
        yield from _object(tree)
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        yield from _list(tree)
    else:
        yield json.dumps(tree, ensure_ascii=False)


def _object(members: Mapping[str, Tree]) -> Iterator[str | pl.Expr]:
    """Members without a value are left out, as services expect of optional ones."""
    opening = "{"
    for name, value in members.items():
        if value is not None:
            yield f"{opening}{json.dumps(name, ensure_ascii=False)}:"
            yield from _parts(value)
            opening = ","
    yield "{}" if opening == "{" else "}"


def _list(items: Sequence[Tree]) -> Iterator[str | pl.Expr]:
    yield "["
    for position, item in enumerate(items):
        if position:
            yield ","
        yield from _parts(item)
    yield "]"
