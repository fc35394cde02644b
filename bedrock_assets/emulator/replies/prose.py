"""
A text reply worth looking at: an extractive summary of the prompt's own text, and a label where labels are asked.

The two sentences with the most frequent words (stop words dropped) are kept in their order. A line such as
`Category: one of billing, delivery, other` in the prompt adds `Category: <label>` to the answer. A request with a
JSON schema, or a prompt that holds one, gets JSON that conforms to it instead.
"""

import re
from collections.abc import Iterator

from bedrock_assets.emulator.replies.base import Completion, Prompt, count_tokens
from bedrock_assets.emulator.replies.structured import conforming_text, find_schema
from bedrock_assets.emulator.replies.summary import choose, summarize

MAX_LABEL_CHARS = 40

_TAGGED = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)
_LABELS = re.compile(r"(?:[\s*#-]*([^:]{1,40}):\s*|.*?\b)one of:?\s+([^.]+)", re.IGNORECASE)
_LABEL_BREAK = re.compile(r"\s*(?:,|;|\||/|\bor\b)\s*")


def complete(prompt: Prompt) -> Completion:
    """Answer a prompt; the same prompt always gets the same answer."""
    block = max(prompt.user, key=len, default="")
    document = _document(block)
    parts = [prompt.system, *(text if text is not block else _outside(block, document) for text in prompt.user)]
    instructions = "\n".join(parts)
    schema = prompt.schema or find_schema(instructions)
    if schema is not None:
        return cut(prompt, conforming_text(schema, document))
    lines = [summarize(document) or "The prompt has no text."]
    lines += [f"{name}: {choose(labels, document)}" for name, labels in asked_labels(instructions)]
    return cut(prompt, "\n".join(lines))


def cut(prompt: Prompt, text: str) -> Completion:
    """*text* as the answer to *prompt*, within its max_tokens."""
    kept = text[: prompt.max_tokens * 4]
    return Completion(kept, len(kept) < len(text), prompt.input_tokens, count_tokens(kept))


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
