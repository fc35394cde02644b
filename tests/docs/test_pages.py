"""The pages say what the code says: messages, error codes, commands, keys, and links."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import bedrock_assets
from bedrock_assets.cli.app import app
from bedrock_assets.config.pipeline import PipelineSpec
from tests.labs.stages import HAIKU

PACKAGE = Path(bedrock_assets.__file__).parent
ROOT, DOCS = PACKAGE.parent, PACKAGE / "docs"
CODE = re.sub(r'"\s+f?"', "", "\n".join(path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))))
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FOREIGN = {"not authorized", "AccessDenied"}
"""Bedrock's own words."""
WITHOUT_COMMANDS = {"architecture.md", "contributing.md", "reference.md", "benchmarks.md", "to-a-billion-rows.md"}
"""Pages about the code, its speed, and the keys of a YAML file."""


def quoted_messages() -> list[str]:
    """What the tables of messages quote, without what is put into it: runs of two words and more."""
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    said = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    pieces = [piece.strip(" ,:;") for message in said for piece in re.split(r"\.\.\.|'.'|\d+|\bN\b|['{}]", message)]
    return sorted({piece for piece in pieces if " " in piece} - FOREIGN)


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_is_said_by_the_code(message: str) -> None:
    """Each message of the troubleshooting page stands in the code."""
    assert message in CODE


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files that are there."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_are_there(page: Path) -> None:
    """Each command and option that a page shows is one of ours."""
    commands = re.findall(r"bedrock-assets ([a-z]+)((?: [^\n`#|]*)?)", page.read_text("utf-8"))
    assert commands or page.name in WITHOUT_COMMANDS
    for name, rest in commands:
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "300"})
        assert shown.exit_code == 0, name
        for option in re.findall(r"(?<= )--[a-z-]+", rest):
            assert option in shown.output, f"{name} {option}"


def test_the_nights() -> None:
    """Each setting that the page about nights shows is one of a pipeline."""
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "every-night.md").read_text("utf-8"), re.DOTALL)
    shown = [yaml.safe_load(block) for block in blocks]
    spec = {"name": "calls", "source": {"path": "x.csv"}, "model": HAIKU, "task": {"text": {"prompt": "{a}"}}}
    specs = [PipelineSpec.model_validate(spec | one) for one in shown]
    assert [bool(one.schedule) for one in specs] == [True, True, False]
    assert specs[1].schedule
    assert specs[1].schedule.timezone == "Europe/Berlin"
    assert specs[2].automation
