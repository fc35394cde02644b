"""
Checks of the documents in a request, in Anthropic's and Converse's formats.

Sources, 2026-11: service model of Converse (`DocumentBlock`); Amazon Bedrock user guide, "API restrictions"; Anthropic,
API reference. The message about a name is that of field reports; a name may have an underscore, although no page says
so, and of spaces only the ASCII one. The messages that no report quotes are ours.
"""

import base64
import binascii
import re
from collections.abc import Iterator

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str
from bedrock_assets.emulator.replies.base import RecordError

MAX_DOCUMENTS = 5
MAX_BYTES = 4_500_000
_UNCAPPED = ("pdf", "docx")
"""Formats of which some models take more than `MAX_BYTES`; how much is theirs to say."""
_BEGINNINGS = {
    "pdf": b"%PDF-",
    "docx": b"PK",
    "xlsx": b"PK",
    "doc": b"\xd0\xcf\x11\xe0",
    "xls": b"\xd0\xcf\x11\xe0",
    "txt": b"",
    "csv": b"",
    "html": b"",
    "md": b"",
}
"""The formats of Converse, and how a file of each begins."""
MAX_NAME = 200
_NAME = re.compile(r"[A-Za-z0-9_\-()\[\]]*(?: [A-Za-z0-9_\-()\[\]]+)* ?")


def check_documents(content: Json, role: Json, where: str) -> None:
    """
    Check the documents among the blocks of a message.

    Raises:
        RecordError: One of them is not what it is said to be, or there are too many.
    """
    blocks = [(f"{where}.content.{i}", as_object(block)) for i, block in enumerate(as_list(content))]
    found = [(at, block) for at, block in blocks if block.get("type") == "document" or "document" in block]
    if not found:
        return
    if role != "user":
        raise RecordError(f"{where}: documents are only allowed in messages of the user")
    if len(found) > MAX_DOCUMENTS:
        raise RecordError(f"too many documents: {len(found)} documents were provided, the limit is {MAX_DOCUMENTS}")
    for at, block in found:
        if block.get("type") == "document":
            _check_messages(as_object(block.get("source")), f"{at}.document.source")
        else:
            _check_converse(as_object(block["document"]), f"{at}.document")
    names = list(_names(found))
    if len(set(names)) < len(names):
        raise RecordError("Messages contain duplicate document names. Give each document a name of its own.")
    if names and not any(as_str(block.get("text")).strip() for _, block in blocks):
        raise RecordError("A text block is required in a message that has a document.")


def _names(found: list[tuple[str, JsonObject]]) -> Iterator[str]:
    for _, block in found:
        if block.get("type") != "document":
            yield as_str(as_object(block["document"]).get("name"))


def _check_messages(source: JsonObject, where: str) -> None:
    kind, media_type = source.get("type"), source.get("media_type")
    if kind == "text":
        if media_type != "text/plain":
            raise RecordError(f"{where}.text.media_type: Input should be 'text/plain'")
        if not as_str(source.get("data")).strip():
            raise RecordError(f"{where}.text.data: text content blocks must be non-empty")
        return
    if kind != "base64":
        raise RecordError(f"{where}: Input tag should be 'base64' or 'text'")
    if media_type != "application/pdf":
        raise RecordError(f"{where}.base64.media_type: Input should be 'application/pdf'")
    if not _decoded(source.get("data"), f"{where}.base64.data").startswith(_BEGINNINGS["pdf"]):
        raise RecordError(f"{where}.base64.data: The PDF specified was not valid.")


def _check_converse(document: JsonObject, where: str) -> None:
    kind, name, source = as_str(document.get("format")), as_str(document.get("name")), as_object(document.get("source"))
    if kind not in _BEGINNINGS:
        raise RecordError(f"{where}.format: Member must satisfy enum value set: [{', '.join(_BEGINNINGS)}]")
    if not 1 <= len(name) <= MAX_NAME or not _NAME.fullmatch(name):
        raise RecordError(
            "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
            "parentheses, and square brackets. The name can't contain more than one consecutive whitespace character. "
            "Check that the file name conforms to these restrictions and retry your request."
        )
    if "s3Location" in source:
        return
    content = _decoded(source.get("bytes"), f"{where}.source.bytes")
    if not content:
        raise RecordError(f"{where}.source: the document is empty")
    if len(content) > MAX_BYTES and kind not in _UNCAPPED:
        raise RecordError(f"{where}: the document has {len(content)} bytes, above the limit of 4.5 MB")
    if not _is(kind, content):
        raise RecordError(f"{where}: the content is not of the format {kind} that it is said to be")


def _is(kind: str, content: bytes) -> bool:
    if beginning := _BEGINNINGS[kind]:
        return content.startswith(beginning)
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(data: Json, where: str) -> bytes:
    try:
        return base64.b64decode(as_str(data), validate=True)
    except (binascii.Error, ValueError):
        raise RecordError(f"{where}: Invalid base64 data") from None
