"""Finds the JSON objects in a text: an answer may stand among words, in a code fence, or beside others."""

import json
import re

import polars as pl

from bedrock_assets.sources.json_lines import whole_characters

CUT = "{"
"""Stands for an object that begins and does not end."""
MAX_TRIES = 1_000
"""Opening braces that begin no object, after which a text is given up; each may take as long as the text is."""
_FENCE = r"(?s)^\s*```[A-Za-z]*\s*(\{.*\})\s*```\s*$"
_THOUGHTS = re.compile(r"\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
_OPENED = re.compile(r"\{\s*(?:\"|\Z)")
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
    thoughts at its beginning. One that begins after them and does not end is `CUT`. None if there are too many braces
    to tell.
    """
    start, found, n_tries, is_cut = 0, list[str](), 0, False
    while thought := _THOUGHTS.match(text, start):
        start = thought.end()
    while (start := text.find("{", start)) >= 0:
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            n_tries += 1
            if n_tries > MAX_TRIES:
                return None
            is_cut = is_cut or (_OPENED.match(text, start) is not None and text.find("}", start) < 0)
            start += 1
            continue
        found.append(text[start:end])
        start, is_cut = end, False
    return [*found, CUT] if is_cut else found


def all_objects(texts: pl.Series) -> list[list[str] | None]:
    """
    What `objects_in` finds in each text, each object on one line and without spaces; none in a text that is null.

    What is JSON to Python alone is left out.
    """
    found = [[] if text is None else objects_in(text) for text in texts]
    whole = [one for objects in found for one in objects or () if one != CUT]
    flat = whole_texts(pl.Series("text", whole, dtype=pl.String))
    lines = iter(flat.to_frame().select(json=pl.col("text").str.json_path_match("$")).to_series())
    return [
        None if objects is None else [told for one in objects if (told := CUT if one == CUT else next(lines))]
        for objects in found
    ]


def whole_texts(texts: pl.Series) -> pl.Series:
    """Texts that hold JSON, with U+FFFD in place of escaped halves of characters."""
    # Looking for fixed text is much faster.
    if not texts.str.contains(r"\u", literal=True).any() or not texts.str.contains(r"\\u[dD]").any():
        return texts
    return texts.map_elements(lambda text: whole_characters(text.encode()).decode(), return_dtype=pl.String)
