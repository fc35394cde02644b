"""
What a request may hold of documents: formats, number and size, by family and model.

Sources, 2026-11:
- Amazon Bedrock user guide, "API restrictions": five documents in a request, 4.5 MB each; not for PDF of Claude 4 and
  later, nor for PDF and DOCX of Nova. Formats: API reference, `DocumentBlock`.
- Amazon Nova user guide, "Document understanding": PDF and DOCX sent as bytes have 25 MB together. Documents are for
  Converse only ("Multimodal support"), so the families of Nova under InvokeModel take none.
- Anthropic, "PDF support": a request of 32 MB; Messages take PDF and plain text. AWS's page says that InvokeModel takes
  no documents at all, Anthropic's that it does; the pre-flight decides. Pages (100, or 600 with a large context) are
  not counted here: a PDF tells them only to a parser.
- S3 URIs: "Format and upload your batch inference data" wants all files in the folder that is the job's input. Here a
  job's input is one file, so contents are sent.
"""

from dataclasses import dataclass

from bedrock_assets.families.base import Family
from bedrock_assets.models import Model

TEXT_FORMATS = ("txt", "csv", "html", "md")
"""Formats that are UTF-8 text."""
MESSAGES_FORMATS = ("pdf", *TEXT_FORMATS)
"""Of Anthropic Messages, which takes PDF, and any text as plain text."""
CONVERSE_FORMATS = ("pdf", *TEXT_FORMATS, "doc", "docx", "xls", "xlsx")
MAX_DOCUMENTS = 5
MAX_BYTES = 4_500_000
NOVA_MEDIA_BYTES = 25_000_000
MESSAGES_BYTES = 32_000_000


@dataclass(frozen=True)
class DocumentRules:
    """Limits of the documents of one request; sizes in bytes, before base64."""

    formats: tuple[str, ...] = ()
    plain_text: bool = False
    """Whether text is sent as it is, not in base64."""
    large: tuple[str, ...] = ()
    """Formats to which `max_bytes` does not apply."""
    max_bytes: int = MAX_BYTES
    """Of one document."""
    max_large_bytes: int | None = None
    """Of all documents of the formats `large` together."""
    max_request_bytes: int | None = None
    """Of the whole request."""


def document_rules(family: Family, facts: Model) -> DocumentRules:
    """The limits for one model; those of a model that is not known are the general ones."""
    is_late_claude = facts.family == "anthropic" and not facts.id.startswith("anthropic.claude-3")
    is_nova = facts.family in ("nova", "nova_2")
    large = ("pdf",) if is_late_claude else ("pdf", "docx") if is_nova else ()
    is_messages = family.name == "anthropic"
    return DocumentRules(
        family.documents,
        plain_text=is_messages,
        # What InvokeModel takes is for the provider to say: AWS states its sizes for Converse.
        large=family.documents if is_messages else large,
        max_large_bytes=NOVA_MEDIA_BYTES if is_nova else None,
        max_request_bytes=MESSAGES_BYTES if facts.family == "anthropic" or is_messages else None,
    )
