"""Finds the JSON objects in a text: an answer may stand among words, in a code fence, or beside others."""

import json
import re

import polars as pl

from bedrock_assets.sources.json_lines import whole_characters

MAX_TRIES = 1_000
"""Opening braces that begin no object, after which a text is given up; each may take as long as the text is."""
_FENCE = r"(?s)^\s*```[A-Za-z]*\s*(\{.*\})\s*```\s*$"
_THOUGHTS = re.compile(r"\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
_DECODER = json.JSONDecoder()


def whole_objects(texts: pl.Series) -> pl.Series:
    """The one JSON object that a text consists of, possibly in a code fence, on one line; null for any other text."""
    frame = whole_texts(texts).alias("text").to_frame()
    inner = pl.coalesce(pl.col("text").str.extract(_FENCE), "text")
    found = frame.select(json=inner.str.json_path_match("$"))
    return found.select(pl.when(pl.col("json").str.starts_with("{")).then("json")).to_series()


def objects_in(text: str) -> list[str] | None:
    """
    All JSON objects in a text, in order, as they stand there; those within others are left out, as are those in
    thoughts at its beginning. None if there are too many braces to tell.
    """
    start, found, n_tries = 0, list[str](), 0
    while thought := _THOUGHTS.match(text, start):
        start = thought.end()
    while (start := text.find("{", start)) >= 0:
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            n_tries += 1
            if n_tries > MAX_TRIES:
                return None
            start += 1
            continue
        found.append(text[start:end])
        start = end
    return found


def all_objects(texts: pl.Series) -> list[list[str] | None]:
    """
    What `objects_in` finds in each text, each object on one line and without spaces; none in a text that is null.

    What is JSON to Python alone is left out.
    """
    found = [[] if text is None else objects_in(text) for text in texts]
    flat = whole_texts(pl.Series("text", [one for objects in found for one in objects or ()], dtype=pl.String))
    lines = iter(flat.to_frame().select(json=pl.col("text").str.json_path_match("$")).to_series())
    return [None if objects is None else [one for _ in objects if (one := next(lines))] for objects in found]


def whole_texts(texts: pl.Series) -> pl.Series:
    """Texts that hold JSON, with U+FFFD in place of escaped halves of characters."""
    # Looking for fixed text is much faster.
    if not texts.str.contains(r"\u", literal=True).any() or not texts.str.contains(r"\\u[dD]").any():
        return texts
    return texts.map_elements(lambda text: whole_characters(text.encode()).decode(), return_dtype=pl.String)
