"""The page about the first hour on AWS: its commands, parameters, pipeline and messages are those of the code."""

import re
from pathlib import Path
from typing import get_args

import yaml
from typer.main import get_command

from bedrock_assets.cli.app import app
from bedrock_assets.cli.aws import TEMPLATE
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.emulator.refusals import CreateRefusal

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "bedrock_assets" / "docs" / "first-hour-on-aws.md").read_text("utf-8")


def test_the_readme_leads_to_it() -> None:
    """The README links the page."""
    assert "(bedrock_assets/docs/first-hour-on-aws.md)" in (ROOT / "README.md").read_text("utf-8")


def test_its_commands_exist() -> None:
    """Each `bedrock-assets ...` of the page is a command."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = re.findall(r"bedrock-assets ([a-z]+)(?: ([a-z]+))?", PAGE)
    assert {"aws", "plan", "deployment", "doctor", "iam"} <= {first for first, _ in named}
    for first, second in named:
        assert first in commands, first
        assert first != "aws" or second in commands["aws"].commands, second


def test_its_parameters_are_the_templates() -> None:
    """Each parameter of the template is told, with its default, and no other."""
    from cfnlint.decode import decode

    table = PAGE.partition("| parameter |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|[^|]*\| ([^|]*) \|$", table, re.MULTILINE)
    told = {name: default.split(";")[i] for names, default in rows for i, name in enumerate(names.split(", "))}
    template, _ = decode(str(TEMPLATE))
    assert template
    parameters = template["Parameters"]
    assert {name.strip("`") for name in told} == set(parameters)
    for name, default in told.items():
        value = str(parameters[name.strip("`")]["Default"])
        assert value in default or (value == "" and re.search(r"new one|none", default)), name


def test_its_pipeline_loads() -> None:
    """The example is one of a pipeline."""
    block = PAGE.partition("```yaml\n")[2].partition("```")[0]
    assert PipelineSpec.model_validate(yaml.safe_load(block)["attributes"]).budget_usd == 1


def test_it_names_every_refusal_that_can_be_rehearsed() -> None:
    """The page has each value of the fault."""
    assert [reason for reason in get_args(CreateRefusal) if f"`{reason}`" not in PAGE] == []


def test_its_messages_are_those_that_the_emulator_gives() -> None:
    """What the page says that Bedrock says, the emulator says as well, so that each can be tried without an account."""
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "bedrock_assets" / "emulator").rglob("*.py"))
    for message in (
        "Batch inference is not supported for the requested model.",
        "The provided model identifier is invalid",
        "is marked by provider as Legacy",
        "Cross-account pass role is not allowed",
        "less records (",
        "Could not validate GetObject permissions",
        "Could not validate ListBucket permissions",
    ):
        assert message in PAGE
        assert message in sources, message
