"""Images and documents in columns of bytes: their format, and what stands for them in a request."""

import base64
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePath

import polars as pl

from bedrock_assets.columns import column as exactly
from bedrock_assets.columns import fields
from bedrock_assets.errors import PromptError
from bedrock_assets.families import Document, DocumentRules, Image
from bedrock_assets.families.documents import TEXT_FORMATS

IMAGES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF8"}
"""First bytes of each format. Sources: ITU-T T.81 (SOI and the next marker), PNG specification, GIF89a."""
PDF, ZIP, OLE = b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""First bytes of PDF, of a ZIP archive, in which Office Open XML is, and of older Office files (MS-CFB)."""
PARTS = {"docx": "word/document.xml", "xlsx": "xl/workbook.xml"}
"""The main part of each, by name. Source: ECMA-376."""
STREAMS = {"doc": "WordDocument", "xls": "Workbook"}
"""The main stream of each, by name, which MS-CFB writes in UTF-16. Sources: MS-DOC, MS-XLS."""
NO_DOCUMENTS = DocumentRules()
EMPTY = ""
"""Stands for the format of a document without content."""
Reason = tuple[pl.Expr, str, pl.Expr]
"""A condition under which a record cannot be sent, with code and message."""


@dataclass(frozen=True)
class Attachments:
    """
    The columns of a task that are sent beside its prompt.

    Args:
        images, documents: Names of columns, in the order in which they are sent.
    """

    images: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    rules: DocumentRules = NO_DOCUMENTS

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return (*self.images, *self.documents)

    def check(self, columns: Sequence[str]) -> None:
        """
        Raises:
            PromptError: A column is not among *columns*.
        """
        for key, names in (("images", self.images), ("documents", self.documents)):
            missing = [name for name in names if name not in columns]
            if missing:
                raise PromptError(
                    f"task.text.{key}: column {missing[0]!r} is not in the dataset; it has: {list(columns)}"
                )

    @property
    def max_request_bytes(self) -> int | None:
        """Most bytes of a request with documents, if the model has such a limit."""
        return self.rules.max_request_bytes if self.documents else None

    @property
    def parts(self) -> list[str]:
        """Names of the columns that a request is made of: content and format of each attachment."""
        images = (f"{part}_{i}" for i in range(len(self.images)) for part in ("base64", "format"))
        documents = (f"document_{i}{part}" for i in range(len(self.documents)) for part in ("", "_format"))
        return [*images, *documents]

    def rendered(self, rows: pl.DataFrame) -> dict[str, pl.Expr | pl.Series]:
        """
        The columns `parts`, String, and the size of each document, Int64; null where there is no content.

        Raises:
            PromptError: A column does not hold bytes.
        """
        contents = [attached_bytes(name, rows.schema[name], "images") for name in self.images]
        found: dict[str, pl.Expr | pl.Series] = {
            f"base64_{i}": content.bin.encode("base64") for i, content in enumerate(contents)
        }
        found |= {f"format_{i}": image_format(content) for i, content in enumerate(contents)}
        for i, name in enumerate(self.documents):
            found |= {f"document_{i}{part}": values for part, values in self._document(rows, name).items()}
        return found

    @property
    def sent_images(self) -> tuple[Image, ...]:
        """The images, over the columns of `rendered`."""
        return tuple(Image(pl.col(f"base64_{i}"), pl.col(f"format_{i}")) for i in range(len(self.images)))

    @property
    def sent_documents(self) -> tuple[Document, ...]:
        """The documents, over the columns of `rendered`; the names are ours, as a file's own could instruct a model."""
        return tuple(
            Document(pl.col(f"document_{i}"), pl.col(f"document_{i}_format"), name=f"Document {i + 1}")
            for i in range(len(self.documents))
        )

    def contents(self) -> list[pl.Expr]:
        """What may not be null, over the columns of `rendered`."""
        return [*(image.base64 for image in self.sent_images), *(document.data for document in self.sent_documents)]

    def reasons(self, used: str) -> Iterator[Reason]:
        """
        Why a record cannot be sent, besides nulls.

        Args:
            used: The columns that the record is made of, for messages.
        """
        if self.images:
            unknown = pl.any_horizontal(image.format.is_null() for image in self.sent_images)
            yield unknown, "unknown_image", pl.lit(f"an image is not JPEG, PNG, GIF or WebP; the prompt uses: {used}")
        for i, (name, document) in enumerate(zip(self.documents, self.sent_documents, strict=True)):
            yield from self._reasons_of_document(name, document.format, pl.col(f"document_{i}_bytes"))
        if self.documents and self.rules.max_large_bytes is not None:
            sizes = (
                pl.when(document.format.is_in(self.rules.large)).then(pl.col(f"document_{i}_bytes")).otherwise(0)
                for i, document in enumerate(self.sent_documents)
            )
            total, most = pl.sum_horizontal(*sizes), self.rules.max_large_bytes
            kinds = " and ".join(kind.upper() for kind in self.rules.large)
            message = pl.format(f"the {kinds} documents have {{}} bytes, above the {most} of a request", total)
            yield total > most, "document_too_large", message

    def _reasons_of_document(self, name: str, kind: pl.Expr, n_bytes: pl.Expr) -> Iterator[Reason]:
        subject = pl.lit(f"the document in column {name!r} ")
        yield kind == EMPTY, "empty_document", pl.concat_str(subject, pl.lit("is empty"))
        taken = pl.lit(f"; the model takes {', '.join(self.rules.formats)}")
        told = pl.concat_str(subject, pl.lit("is "), kind.fill_null("of no known format"), taken)
        yield kind.is_null() | ~kind.is_in(self.rules.formats), "unknown_document", told
        most = self.rules.max_bytes
        large = pl.format(f"{{}}has {{}} bytes, above the {most} that are taken", subject, n_bytes)
        yield (n_bytes > most) & ~kind.is_in(self.rules.large), "document_too_large", large

    def _document(self, rows: pl.DataFrame, name: str) -> dict[str, pl.Series]:
        """Content (text, or base64), format and size of the documents of one column."""
        dtype = rows.schema[name]
        contents = rows.select(attached_bytes(name, dtype, "documents")).to_series().to_list()
        paths = _paths(rows, name, dtype)
        formats = [document_format(content, path) for content, path in zip(contents, paths, strict=True)]
        data = [
            self._encoded(content, kind) if content is not None else None
            for content, kind in zip(contents, formats, strict=True)
        ]
        sizes = [None if content is None else len(content) for content in contents]
        return {
            "": pl.Series(data, dtype=pl.String),
            "_format": pl.Series(formats, dtype=pl.String),
            "_bytes": pl.Series(sizes, dtype=pl.Int64),
        }

    def _encoded(self, content: bytes, kind: str | None) -> str:
        if self.rules.plain_text and kind in TEXT_FORMATS:
            return content.decode("utf-8-sig")
        return base64.b64encode(content).decode()


def attached_bytes(column: str, dtype: pl.DataType, key: str) -> pl.Expr:
    """
    The bytes of a column, or of its field `bytes`, in which `datasets` keeps files.

    Args:
        key: Which key of the task names the column, for messages.

    Raises:
        PromptError: The column does not hold bytes.
    """
    if dtype == pl.Binary:
        return exactly(column)
    if isinstance(dtype, pl.Struct) and {field.name: field.dtype for field in dtype.fields}.get("bytes") == pl.Binary:
        return fields(exactly(column), dtype)["bytes"]
    raise PromptError(
        f"column {column!r} named in task.text.{key} is {dtype}; use bytes (Binary), or a struct with `bytes`. "
        "URIs do not work: batch inference reads `s3Location` only from the folder of its own input"
    )


def image_format(content: pl.Expr) -> pl.Expr:
    """String: `jpeg`, `png`, `gif` or `webp`, by the first bytes; null for anything else."""
    webp = (content.bin.slice(0, 4) == b"RIFF") & (content.bin.slice(8, 4) == b"WEBP")
    name_of_format = pl.when(webp).then(pl.lit("webp"))
    for name, signature in IMAGES.items():
        name_of_format = name_of_format.when(content.bin.starts_with(signature)).then(pl.lit(name))
    return name_of_format


def document_format(content: bytes | None, path: str | None = None) -> str | None:
    """
    The format of a document by its content, as Converse names it.

    Args:
        path: Name of its file, if it is known; only for text, in which CSV and Markdown cannot be told apart.

    Returns:
        `EMPTY` if it has no content, None if there is none, or none that is known.
    """
    if content is None:
        return None
    if content.startswith(PDF):
        return "pdf"
    if content.startswith(ZIP):
        return _office_format(content)
    if content.startswith(OLE):
        return next((kind for kind, name in STREAMS.items() if name.encode("utf-16-le") in content), None)
    return _text_format(content, path)


def _office_format(content: bytes) -> str | None:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return None
    return next((kind for kind, part in PARTS.items() if part in names), None)


def _text_format(content: bytes, path: str | None) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    start = text[:1_000].lstrip().lower()
    if not start and not text.strip():
        return EMPTY
    if start.startswith(("<!doctype html", "<html")):
        return "html"
    suffix = PurePath(path or "").suffix.lower().removeprefix(".")
    return {"htm": "html", "markdown": "md"}.get(suffix, suffix if suffix in TEXT_FORMATS else "txt")


def _paths(rows: pl.DataFrame, name: str, dtype: pl.DataType) -> list[str | None]:
    """The names of the files, where the column tells them."""
    is_struct = isinstance(dtype, pl.Struct)
    members = {field.name: field.dtype for field in dtype.fields} if is_struct else {}
    if not is_struct or members.get("path") != pl.String:
        return [None] * len(rows)
    return rows.select(fields(exactly(name), dtype)["path"]).to_series().to_list()
