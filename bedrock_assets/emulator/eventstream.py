"""
AWS's binary event streams, as ConverseStream and InvokeModelWithResponseStream answer with.

A message is a prelude (its length and that of its headers, with a checksum), headers, a payload, and a checksum of all.
All headers here are strings. Source: Smithy 2.0, Amazon Event Stream specification.
"""

from collections.abc import Mapping
from struct import pack
from zlib import crc32

from bedrock_assets.emulator.jsontypes import JsonObject, dump

MEDIA_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE_BYTES, _CHECKSUM_BYTES = 12, 4
_STRING = 7
"""Type of a header whose value is a string."""


def event(name: str, payload: JsonObject) -> bytes:
    """One event of a stream."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, dump(payload).encode())


def exception(name: str, text: str) -> bytes:
    """An exception, with which a stream ends: its name as the service model's union spells it."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, dump({"message": text}).encode())


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of a stream."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    length = _PRELUDE_BYTES + len(head) + len(payload) + _CHECKSUM_BYTES
    prelude = pack(">II", length, len(head))
    checked = prelude + pack(">I", crc32(prelude)) + head + payload
    return checked + pack(">I", crc32(checked))


def _header(name: str, value: str) -> bytes:
    name_bytes, value_bytes = name.encode(), value.encode()
    return pack(">B", len(name_bytes)) + name_bytes + pack(">BH", _STRING, len(value_bytes)) + value_bytes
