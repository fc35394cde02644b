"""Images in columns of bytes: what format they have, and the base64 that a request holds."""

import polars as pl

from bedrock_assets.errors import PromptError

SIGNATURES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF8"}
"""First bytes of a format. Sources: ITU-T T.81 (SOI and the next marker), PNG specification, GIF89a."""


def image_bytes(column: str, dtype: pl.DataType) -> pl.Expr:
    """
    The bytes of a column, or of its field `bytes`, where `datasets` keeps an image's.

    Raises:
        PromptError: The column holds something else.
    """
    if dtype == pl.Binary:
        return pl.col(column)
    if isinstance(dtype, pl.Struct) and {field.name: field.dtype for field in dtype.fields}.get("bytes") == pl.Binary:
        return pl.col(column).struct.field("bytes")
    raise PromptError(
        f"column {column!r} named in task.text.images is {dtype}; an image is bytes (Binary), or a struct with "
        "`bytes`. URIs are not taken: batch inference reads `s3Location` only from the folder of its own input"
    )


def image_format(content: pl.Expr) -> pl.Expr:
    """String: `jpeg`, `png`, `gif` or `webp`, told from the first bytes; null for anything else."""
    webp = (content.bin.slice(0, 4) == b"RIFF") & (content.bin.slice(8, 4) == b"WEBP")
    found = pl.when(webp).then(pl.lit("webp"))
    for name, signature in SIGNATURES.items():
        found = found.when(content.bin.starts_with(signature)).then(pl.lit(name))
    return found


def image_base64(content: pl.Expr) -> pl.Expr:
    """String: the bytes in base64."""
    return content.bin.encode("base64")
