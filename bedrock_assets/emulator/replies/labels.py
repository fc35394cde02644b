"""The label that fits a text best, and how pleased the text is, by lists of words: no model is asked."""

import re
import zlib
from collections import Counter
from functools import lru_cache

from bedrock_assets.emulator.replies.words import CUES, DISPLEASED, NEGATIONS, PLEASED

MAX_CHARS_READ = 50_000
_WORD = re.compile(r"[^\W\d_][\w']*|\?")
_LABEL_WORD = re.compile(r"[\W_]+")
_WEAK = frozenset(("question", "talk", "small"))
"""Labels whose words stand in nearly every text: each counts a third."""
_NEITHER = frozenset(("neutral", "mixed"))
_LAST = frozenset(("other", "others", "none", "unknown", "miscellaneous", "misc", "general"))
"""Labels that are right if no other is."""


def choose(labels: list[str], text: str) -> str:
    """
    The label for which most words of *text* speak.

    Its own words count, and those of a list for what labels are often about. Between `positive` and `negative` the
    words decide of which there are clearly more, `neutral` if neither. `other` is chosen where nothing speaks for any
    label; a hash of the text decides between equals.
    """
    counts, feeling = _read(text)
    parts = [[part for part in _LABEL_WORD.split(label.lower()) if part] for label in labels]
    scores = [_score(own, counts, feeling) for own in parts]
    if max(scores) <= 0:
        last = [label for label, own in zip(labels, parts, strict=True) if _LAST.intersection(own)]
        neither = [label for label, own in zip(labels, parts, strict=True) if _NEITHER.intersection(own)]
        return (neither or last or _tied(labels, text))[0]
    return _tied([label for label, score in zip(labels, scores, strict=True) if score == max(scores)], text)[0]


def pleasure(text: str) -> float:
    """From 0 (all words of feeling are of displeasure) over 0.5 (none or as many) to 1."""
    _, (pleased, displeased) = _read(text)
    return (pleased + 0.25) / (pleased + displeased + 0.5)  # one word alone is not the utmost


def _score(own: list[str], counts: Counter[str], feeling: tuple[int, int]) -> float:
    if _LAST.intersection(own):
        return 0
    pleased, displeased = feeling
    total = 0.0
    for part in own:
        if part in _NEITHER:
            # neither side has twice as many words
            total += 2 * min(feeling) + 0.5 if min(feeling) * 2 > max(feeling) else 0
        elif (cues := CUES.get(part)) is PLEASED:
            total += pleased - displeased
        elif cues is DISPLEASED:
            total += displeased - pleased
        else:
            found = 2 * counts[part] + sum(counts[cue] for cue in cues or () if cue != part)
            total += found / 3 if part in _WEAK else found
    return total


def _counted(words: list[str]) -> tuple[int, int]:
    """Words of pleasure and of displeasure; one after a negation counts for the other side."""
    sides = [0, 0]
    for i, word in enumerate(words):
        side = 0 if word in PLEASED else 1 if word in DISPLEASED else None
        if side is not None:
            is_negated = not NEGATIONS.isdisjoint(words[max(0, i - 3) : i])
            sides[side != is_negated] += 1
    return sides[0], sides[1]


@lru_cache(maxsize=4)
def _read(text: str) -> tuple[Counter[str], tuple[int, int]]:
    """The words of a text with their numbers, and those of feeling; several fields of an answer need them."""
    words = _WORD.findall(text[:MAX_CHARS_READ].lower().replace("\u2019", "'"))
    return Counter(words), _counted(words)


def _tied(labels: list[str], text: str) -> list[str]:
    """One of the labels, the same for the same text, in a list."""
    return [labels[zlib.crc32(text.encode("utf-8", "surrogatepass")) % len(labels)]]
