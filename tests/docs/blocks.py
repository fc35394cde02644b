"""What tests of the pages share: the code and the messages that a page shows."""

import re
from pathlib import Path

import bedrock_assets

PACKAGE = Path(bedrock_assets.__file__).parent
DOCS = PACKAGE / "docs"
CODE = re.sub(r'"\s+f?"', "", "\n".join(path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))))
"""The package's code, with messages of several lines joined."""


def code_of(page: str, language: str = "python") -> list[str]:
    """The blocks of code in a language, from the top."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def messages_of(page: str) -> list[str]:
    """What the tables of messages quote, in pieces between what differs from case to case."""
    tables = page.split("| message | what to do |")[1:]
    cells = [line.split("|")[1] for table in tables for line in table.splitlines() if line.startswith("| `")]
    quoted = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    return [piece.strip() for message in quoted for piece in message.split("...") if " " in piece.strip()]
