"""Images in columns of bytes: their format, and their base64 for a request."""

import polars as pl

from bedrock_assets.columns import column as exactly
from bedrock_assets.columns import fields
from bedrock_assets.errors import PromptError

SIGNATURES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF8"}
"""First bytes of each format. Sources: ITU-T T.81 (SOI and the next marker), PNG specification, GIF89a."""


def image_bytes(column: str, dtype: pl.DataType) -> pl.Expr:
    """
    The bytes of a column, or of its field `bytes`, in which `datasets` keeps images.

    Raises:
        PromptError: The column does not hold bytes.
    """
    if dtype == pl.Binary:
        return exactly(column)
    if isinstance(dtype, pl.Struct) and {field.name: field.dtype for field in dtype.fields}.get("bytes") == pl.Binary:
        return fields(exactly(column), dtype)["bytes"]
    raise PromptError(
        f"column {column!r} named in task.text.images is {dtype}; use bytes (Binary), or a struct with `bytes`. "
        "URIs do not work: batch inference reads `s3Location` only from the folder of its own input"
    )


def image_format(content: pl.Expr) -> pl.Expr:
    """String: `jpeg`, `png`, `gif` or `webp`, by the first bytes; null for anything else."""
    webp = (content.bin.slice(0, 4) == b"RIFF") & (content.bin.slice(8, 4) == b"WEBP")
    name_of_format = pl.when(webp).then(pl.lit("webp"))
    for name, signature in SIGNATURES.items():
        name_of_format = name_of_format.when(content.bin.starts_with(signature)).then(pl.lit(name))
    return name_of_format


def image_base64(content: pl.Expr) -> pl.Expr:
    """String: the bytes in base64."""
    return content.bin.encode("base64")
