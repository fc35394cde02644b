"""Images in a message: in base64, of the format that is said, or the model refuses the record."""

import base64
import binascii

from bedrock_assets.emulator.jsontypes import Json, as_object, as_str
from bedrock_assets.emulator.replies.base import RecordError

SIGNATURES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF8", "webp": b"RIFF"}


def check_image(block: Json, where: str) -> None:
    """
    Look at a content block, if it is an image in Anthropic's or in Converse's words.

    Raises:
        RecordError: The image cannot be read.
    """
    found = as_object(block)
    if found.get("type") == "image":
        source = as_object(found.get("source"))
        said, data = as_str(source.get("media_type")).removeprefix("image/"), source.get("data")
    elif isinstance(found.get("image"), dict):
        image = as_object(found["image"])
        source = as_object(image.get("source"))
        if "s3Location" in source:
            return
        said, data = as_str(image.get("format")), source.get("bytes")
    else:
        return
    if said not in SIGNATURES:
        raise RecordError(f"{where}.image: Input should be one of {', '.join(SIGNATURES)}")
    if not _decoded(data).startswith(SIGNATURES[said]):
        raise RecordError(f"{where}.image: Image does not match the provided media type image/{said}")


def _decoded(data: Json) -> bytes:
    try:
        return base64.b64decode(as_str(data), validate=True)
    except (binascii.Error, ValueError):
        return b""
