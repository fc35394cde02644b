"""
A text reply worth looking at: an extractive summary of the prompt's own text, and a label where labels are asked.

The two sentences with the most frequent words (stop words dropped) are kept in their order. A line such as
`Category: one of billing, delivery, other` in the prompt adds `Category: <label>` to the answer.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bedrock_assets.emulator.replies.base import count_tokens

N_SENTENCES = 2
MAX_SENTENCE_CHARS = 300
MAX_LABEL_CHARS = 40
LONG_LINE_CHARS = 160
MAX_SENTENCES_READ = 500
"""Sentences past these are not weighed, so that a huge prompt costs no more than a long one."""

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")  # noqa: RUF001 - full-width marks end sentences too
_TAGGED = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)
_LABELS = re.compile(r"(?:[\s*#-]*([^:]{1,40}):\s*|.*?\b)one of:?\s+([^.]+)", re.IGNORECASE)
_LABEL_BREAK = re.compile(r"\s*(?:,|;|\||/|\bor\b)\s*")
_WORD = re.compile(r"[^\W\d_][\w']{2,}")
_SPEAKER = re.compile(r"^[^\s:]+(?: [^\s:]+)?: ")
"""A turn of a conversation begins with a name, which says nothing of what was said."""
_STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been but by can could did do does for from had has have
    he her here him his how i i'm if in into is it it's its just like me more my no not now of oh ok okay on one or
    our out please she so some than thank thanks that that's the their them then there they this to up us was we well
    were what when which who will with would yeah yes you your
    """.split()  # noqa: SIM905 - a paragraph reads better than a hundred literals
)


@dataclass(frozen=True)
class Prompt:
    """The text of a request, whatever its family."""

    user: list[str]
    """Text blocks of the user's messages, in order."""
    system: str = ""
    max_tokens: int = 512

    @property
    def input_tokens(self) -> int:
        """Tokens of everything the model reads."""
        return sum(count_tokens(text) for text in (*self.user, self.system) if text) or 1


@dataclass(frozen=True)
class Completion:
    """The answer to a prompt."""

    text: str
    truncated: bool
    """Whether max_tokens cut it short."""
    input_tokens: int
    output_tokens: int


def complete(prompt: Prompt) -> Completion:
    """Answer a prompt; the same prompt always gets the same answer."""
    block = max(prompt.user, key=len, default="")
    document = _document(block)
    lines = [summarize(document) or "The prompt has no text."]
    instructions = [prompt.system, *(text if text is not block else _outside(block, document) for text in prompt.user)]
    lines += [f"{name}: {choose(labels, document)}" for name, labels in asked_labels("\n".join(instructions))]
    return cut(prompt, "\n".join(lines))


def cut(prompt: Prompt, text: str) -> Completion:
    """*text* as the answer to *prompt*, within its max_tokens."""
    kept = text[: prompt.max_tokens * 4]
    return Completion(kept, len(kept) < len(text), prompt.input_tokens, count_tokens(kept))


def summarize(text: str) -> str:
    """The sentences of *text* that say most, in their own order."""
    sentences = _sentences(text)
    if len(sentences) > N_SENTENCES:
        words = [set(_WORD.findall(_SPEAKER.sub("", sentence).lower())) - _STOP_WORDS for sentence in sentences]
        weight = Counter[str]()
        for some in words:
            weight.update(some)
        # the constant keeps a sentence of a few frequent words from winning on its average
        scores = [sum(map(weight.__getitem__, some)) / (len(some) + 12) for some in words]
        best = sorted(range(len(sentences)), key=lambda i: (-scores[i], i))[:N_SENTENCES]
        sentences = [sentences[i] for i in sorted(best)]
    return " ".join(sentence[:MAX_SENTENCE_CHARS] for sentence in sentences)


def _sentences(text: str) -> list[str]:
    """Lines, the long ones cut into sentences: a turn of a conversation is one unit."""
    found: list[str] = []
    for line in text.split("\n", MAX_SENTENCES_READ)[:MAX_SENTENCES_READ]:
        found += _SENTENCE_END.split(line, MAX_SENTENCES_READ) if len(line) > LONG_LINE_CHARS else (line,)
    return [sentence for sentence in map(str.strip, found[:MAX_SENTENCES_READ]) if sentence]


def asked_labels(instructions: str) -> Iterator[tuple[str, list[str]]]:
    """Each (name, labels) that a line of the instructions asks to choose from."""
    if "one of" not in instructions.lower():
        return
    for line in instructions.split("\n"):
        found = _LABELS.match(line) if "one of" in line.lower() else None
        if found is None:
            continue
        labels = [label.strip(" \"'`()[]{}*") for label in _LABEL_BREAK.split(found[2])]
        labels = [label for label in labels if label]
        if len(labels) > 1 and all(len(label) <= MAX_LABEL_CHARS for label in labels):
            yield (found[1] or "Category").strip(" *_\"'`"), labels


def choose(labels: list[str], text: str) -> str:
    """The label whose words occur most in *text*; among equals a hash of the text decides."""
    lowered = text.lower()
    overlap = [sum(lowered.count(word) for word in re.split(r"[\W_]+", label.lower()) if word) for label in labels]
    best = [label for label, n in zip(labels, overlap, strict=True) if n == max(overlap)]
    return best[zlib.crc32(text.encode("utf-8", "surrogatepass")) % len(best)]


def _document(block: str) -> str:
    """The part of a prompt that is its subject: the longest tagged part, else a paragraph of most of it, else all."""
    if "</" in block:
        tagged = max((body for _, body in _TAGGED.findall(block)), key=len, default="")
        if tagged.strip():
            return tagged
    paragraph = max(block.split("\n\n"), key=len)
    return paragraph if 2 * len(paragraph) > len(block) else block


def _outside(block: str, document: str) -> str:
    """The block without its document; the whole block when they are the same."""
    return block if document == block else block.replace(document, "\n")
