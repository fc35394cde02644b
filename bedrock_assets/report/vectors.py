"""A picture of embeddings: a sample of them on the plane in which they differ most."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.redact import RedactSpec
from bedrock_assets.pipeline.redact import shown_to_people
from bedrock_assets.pipeline.values import texts_of
from bedrock_assets.storage.manifests import Part
from bedrock_assets.storage.parquet import ROW_GROUP_ROWS
from bedrock_assets.storage.publication import Publication

N_POINTS = 1_000
N_BLOCKS = 8
"""Row groups of which points are taken: a vector takes kilobytes, so not all are read."""
MAX_GROUPS = 8
MIN_POINTS = 3
_TEXT_CHARS = 160


@dataclass(frozen=True)
class Point:
    """A row; *x* and *y* are 0 to 1."""

    x: float
    y: float
    text: str
    group: int


@dataclass(frozen=True)
class VectorMap:
    """Points on a plane."""

    points: tuple[Point, ...]
    explained: float
    """Share of the variance that the plane shows, 0 to 1."""
    colored_by: str | None
    """Input column whose values are the groups."""
    groups: tuple[str, ...]


def vector_map(
    table: Publication, embedding: str, texts: Sequence[str], random: Random, redact: RedactSpec | None = None
) -> VectorMap | None:
    """
    The plane of the two largest principal components of a sample.

    Args:
        embedding: Column of the vectors.
        texts: Input columns, the one to show beside a point first; the first with few values colors the points.
        redact: What is not shown of them.

    Returns:
        None if fewer than three rows have a vector.
    """
    rows = shown_to_people(redact, _sample(table, embedding, texts, random))
    if len(rows) < MIN_POINTS:
        return None
    places, explained = _plane(rows[embedding])
    by = next((name for name in texts if _is_grouping(rows[name])), None)
    names = _by_count(rows[by]) if by else []
    group = [names.index(value) for value in rows[by].fill_null("")] if by else [0] * len(rows)
    shown = texts_of(rows, texts[0]) if texts else [None] * len(rows)
    points = zip(places, shown, group, strict=True)
    found = tuple(Point(x, y, (text or "")[:_TEXT_CHARS], i) for (x, y), text, i in points)
    return VectorMap(found, explained, by, tuple(names))


def _plane(embeddings: pl.Series) -> tuple[list[tuple[float, float]], float]:
    """Places between 0 and 1 on the plane, and the share of the variance that it shows."""
    import numpy as np

    vectors = np.array(embeddings.to_list(), dtype=np.float64)
    centered = np.nan_to_num(vectors - np.nanmean(vectors, axis=0), posinf=0, neginf=0)
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    places = centered @ axes[:2].T
    low, span = places.min(axis=0), np.ptp(places, axis=0)
    places, total = (places - low) / np.where(span == 0, 1, span), float((sizes**2).sum())
    return [(x, y) for x, y in places.tolist()], float((sizes[:2] ** 2).sum()) / total if total else 1.0


def _sample(table: Publication, embedding: str, texts: Sequence[str], random: Random) -> pl.DataFrame:
    """As many rows of each of some row groups."""
    parts = table.manifest.parts
    blocks = [(part, start) for part in parts for start in range(0, part.n_rows, ROW_GROUP_ROWS)]
    chosen = sorted(random.sample(range(len(blocks)), min(N_BLOCKS, len(blocks))))
    n_each = -(-N_POINTS // len(chosen))
    return pl.concat(_block(table, *blocks[i], [*texts, embedding], n_each, random.random()) for i in chosen)


def _block(table: Publication, part: Part, start: int, names: Sequence[str], n: int, seed: float) -> pl.DataFrame:
    rows = table.read(part, lambda rows: rows.select(map(column, names)).slice(start, ROW_GROUP_ROWS))
    rows = rows.drop_nulls(rows.columns[-1:])
    return rows.sample(min(n, len(rows)), seed=int(seed * 2**32))


def _is_grouping(values: pl.Series) -> bool:
    return values.dtype == pl.String and 1 < values.n_unique() <= MAX_GROUPS


def _by_count(values: pl.Series) -> list[str]:
    return values.fill_null("").value_counts(sort=True).to_series().to_list()
