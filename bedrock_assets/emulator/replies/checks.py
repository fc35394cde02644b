"""Checks of a request's members: whole numbers and images."""

import base64
import binascii

from bedrock_assets.emulator.jsontypes import Json, as_object, as_str
from bedrock_assets.emulator.replies.base import RecordError

SIGNATURES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF8", "webp": b"RIFF"}
"""First bytes of the image formats."""


def positive_int(value: Json, name: str) -> int:
    """
    Check that the member *name* is a whole number of at least 1.

    Raises:
        RecordError: It is not; the message names it.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecordError(f"{name}: Input should be a valid integer")
    if value < 1:
        raise RecordError(f"{name}: must be greater than or equal to 1")
    return value


def optional_int(value: Json, name: str, default: int) -> int:
    """`positive_int`, or *default* if the member is absent."""
    return default if value is None else positive_int(value, name)


def check_image(block: Json, where: str) -> None:
    """
    Check a content block, if it is an image in Anthropic's or Converse's format.

    Raises:
        RecordError: The data are not an image of the declared format.
    """
    content = as_object(block)
    if content.get("type") == "image":
        source = as_object(content.get("source"))
        declared, data = as_str(source.get("media_type")).removeprefix("image/"), source.get("data")
    elif isinstance(content.get("image"), dict):
        image = as_object(content["image"])
        source = as_object(image.get("source"))
        if "s3Location" in source:
            return
        declared, data = as_str(image.get("format")), source.get("bytes")
    else:
        return
    if declared not in SIGNATURES:
        raise RecordError(f"{where}.image: Input should be one of {', '.join(SIGNATURES)}")
    if not _decoded(data).startswith(SIGNATURES[declared]):
        raise RecordError(f"{where}.image: Image does not match the provided media type image/{declared}")


def _decoded(data: Json) -> bytes:
    try:
        return base64.b64decode(as_str(data), validate=True)
    except (binascii.Error, ValueError):
        return b""
