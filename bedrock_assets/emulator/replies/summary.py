"""Extractive summary of a text, and the label that fits it best."""

import re
import zlib
from collections import Counter

N_SENTENCES = 2
MAX_SENTENCE_CHARS = 300
LONG_LINE_CHARS = 160
MAX_SENTENCES_READ = 500
"""Later sentences are ignored, so that a huge prompt costs no more than a long one."""

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")  # noqa: RUF001 - full-width marks end sentences too
_WORD = re.compile(r"[^\W\d_][\w']{2,}")
_SPEAKER = re.compile(r"^[^\s:]+(?: [^\s:]+)?: ")
"""A turn of a conversation begins with the speaker's name, which is not part of the subject."""
_STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been but by can could did do does for from had has have
    he her here him his how i i'm if in into is it it's its just like me more my no not now of oh ok okay on one or
    our out please she so some than thank thanks that that's the their them then there they this to up us was we well
    were what when which who will with would yeah yes you your
    """.split()  # noqa: SIM905 - a paragraph reads better than a hundred literals
)


def summarize(text: str) -> str:
    """The most important sentences of *text*, in their own order."""
    sentences = _sentences(text)
    if len(sentences) > N_SENTENCES:
        words = [set(_WORD.findall(_SPEAKER.sub("", sentence).lower())) - _STOP_WORDS for sentence in sentences]
        weight = Counter[str]()
        for sentence_words in words:
            weight.update(sentence_words)
        # the constant keeps a short sentence of frequent words from winning on its average
        scores = [sum(map(weight.__getitem__, chosen)) / (len(chosen) + 12) for chosen in words]
        best = sorted(range(len(sentences)), key=lambda i: (-scores[i], i))[:N_SENTENCES]
        sentences = [sentences[i] for i in sorted(best)]
    return " ".join(sentence[:MAX_SENTENCE_CHARS] for sentence in sentences)


def _sentences(text: str) -> list[str]:
    """Lines, with long ones split into sentences: a short turn of a conversation is one unit."""
    sentences: list[str] = []
    for line in text.split("\n", MAX_SENTENCES_READ)[:MAX_SENTENCES_READ]:
        sentences += _SENTENCE_END.split(line, MAX_SENTENCES_READ) if len(line) > LONG_LINE_CHARS else (line,)
    return [sentence for sentence in map(str.strip, sentences[:MAX_SENTENCES_READ]) if sentence]


def choose(labels: list[str], text: str) -> str:
    """The label whose words occur most in *text*; a hash of the text decides a tie."""
    lowered = text.lower()
    overlap = [sum(lowered.count(word) for word in re.split(r"[\W_]+", label.lower()) if word) for label in labels]
    best = [label for label, n in zip(labels, overlap, strict=True) if n == max(overlap)]
    return best[zlib.crc32(text.encode("utf-8", "surrogatepass")) % len(best)]
