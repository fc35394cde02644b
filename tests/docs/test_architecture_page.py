"""The page for those who carry on names files, classes and columns that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import bedrock_assets
from bedrock_assets.pipeline.workload import ANSWER_COLUMNS

PACKAGE = Path(bedrock_assets.__file__).parent
PAGE = (PACKAGE / "docs" / "architecture.md").read_text("utf-8")
TERM = re.compile(r"^\| `(\w+)` \| (?:`([\w/]+\.py)`|(column)) \|", re.MULTILINE)
GLOSSARY = TERM.findall(PAGE.partition("## Glossary")[2])
FILES = sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE)))


@pytest.mark.parametrize(("term", "file", "column"), GLOSSARY, ids=lambda value: value or "-")
def test_each_term_exists(term: str, file: str, column: str) -> None:
    """A term of the glossary is a class of the file that it names, or a column of the answers."""
    if column:
        assert term in ANSWER_COLUMNS
    else:
        module = import_module("bedrock_assets." + file.removesuffix(".py").replace("/", "."))
        assert getattr(module, term).__module__ == module.__name__


def test_the_glossary_is_short() -> None:
    """So few words that a newcomer can learn them."""
    assert 25 <= len(GLOSSARY) <= 35


def test_each_file_exists() -> None:
    """Files that the page names are there."""
    assert [file for file in FILES if not (PACKAGE / file).is_file() and not (PACKAGE.parent / file).is_file()] == []
