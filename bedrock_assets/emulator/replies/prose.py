"""
A readable text reply: an extractive summary of the prompt's own text, with labels if the prompt asks for them.

The summary is the two sentences with the most frequent words, without stop words, in their own order; of a conversation
it is what it is about, and the turn with the most frequent words. A line such as
`Category: one of billing, delivery, other` in the prompt adds `Category: <label>` to the answer. A request with a
JSON schema, or a prompt that contains one, gets JSON that conforms to it instead.
"""

import re
from collections.abc import Iterator

from bedrock_assets.emulator.replies.base import Completion, Prompt, count_tokens
from bedrock_assets.emulator.replies.labels import choose
from bedrock_assets.emulator.replies.structured import conforming_text, find_schema
from bedrock_assets.emulator.replies.summary import summarize

MAX_LABEL_CHARS = 40
THOUGHT_CHARS = 80
"""Of the answer, which a thought repeats."""

_TAGGED = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)
_LABELS = re.compile(r"(?:[\s*#-]*([^:]{1,40}):\s*|.*?\b)one of:?\s+([^.]+)", re.IGNORECASE)
_LABEL_BREAK = re.compile(r"\s*(?:,|;|\||/|\bor\b)\s*")

_INSTRUCTION = re.compile(
    r"\s*(?:answer|classify|describe|extract|judge|label|rate|read|sum up|summari[sz]e|tell|translate)\b"
    r"[^.!?:\n]{0,80}:\s+",
    re.IGNORECASE,
)
"""What stands before the text in a prompt such as `Summarize: ...`."""


def complete(prompt: Prompt) -> Completion:
    """Answer a prompt; the same prompt always gets the same answer."""
    block = max(prompt.user, key=len, default="")
    document = _document(block)
    parts = [prompt.system, *(text if text is not block else _outside(block, document) for text in prompt.user)]
    instructions = "\n".join(parts)
    schema = prompt.schema or find_schema(instructions)
    if schema is not None:
        return _cut(prompt, conforming_text(schema, document))
    lines = [summarize(document) or "The prompt has no text."]
    lines += [f"{name}: {choose(labels, document)}" for name, labels in _requested_labels(instructions)]
    return _cut(prompt, "\n".join(lines))


def _cut(prompt: Prompt, text: str) -> Completion:
    """*text* as the answer to *prompt*, after a thought if it asks for one; max_tokens cuts both."""
    thought = f"The question is what the text says. {text[:THOUGHT_CHARS]}" if prompt.thinks else ""
    whole = thought + text
    written = whole[: prompt.max_tokens * 4]
    return Completion(
        written[len(thought) :],
        len(written) < len(whole),
        prompt.input_tokens,
        count_tokens(written),
        thinking=written[: len(thought)] if prompt.thinks else None,
    )


def _requested_labels(instructions: str) -> Iterator[tuple[str, list[str]]]:
    """(name, labels) of each line of the instructions that asks for one of several labels."""
    if "one of" not in instructions.lower():
        return
    for line in instructions.split("\n"):
        match = _LABELS.match(line) if "one of" in line.lower() else None
        if match is None:
            continue
        labels = [label.strip(" \"'`()[]{}*") for label in _LABEL_BREAK.split(match[2])]
        labels = [label for label in labels if label]
        if len(labels) > 1 and all(len(label) <= MAX_LABEL_CHARS for label in labels):
            yield (match[1] or "Category").strip(" *_\"'`"), labels


def _document(block: str) -> str:
    """The subject of a prompt: the longest tagged part, or else a paragraph with most of the text, or else all."""
    if "</" in block:
        tagged = max((body for _, body in _TAGGED.findall(block)), key=len, default="")
        if tagged.strip():
            return tagged
    paragraph = max(block.split("\n\n"), key=len)
    document = paragraph if 2 * len(paragraph) > len(block) else block
    return _INSTRUCTION.sub("", document, count=1) if _INSTRUCTION.match(document) else document


def _outside(block: str, document: str) -> str:
    """The block without its document; the whole block if they are the same."""
    return block if document == block else block.replace(document, "\n")
