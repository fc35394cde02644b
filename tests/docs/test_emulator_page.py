"""The page about the emulator: its code runs, its tables are whole, its YAML is read."""

import re
from typing import Any

import yaml

from bedrock_assets.emulator import Faults
from bedrock_assets.emulator.operations import SPECS
from bedrock_assets.emulator.settings import EmulatorSettings
from tests.docs.blocks import DOCS, code_of

PAGE = (DOCS / "emulator.md").read_text("utf-8")


def test_its_code_runs() -> None:
    """The block for a test runs a job to its end and reads its answer."""
    names: dict[str, Any] = {}
    exec(code_of(PAGE)[0], names)  # noqa: S102 - the page's own code
    assert names["status"] == "Completed"
    assert names["answer"]["output"]["message"]["content"][0]["text"]


def test_its_tables_are_whole() -> None:
    """All operations and all faults are in its tables, and no others; each switch is one."""
    rows = PAGE.partition("| service | operations |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    told = [name for row in rows for name in row.split("|")[2].partition(" (")[0].strip().split(", ")]
    assert sorted(told) == sorted(spec.name for spec in SPECS.values())
    faults = re.findall(r"`([a-z_]+)`", PAGE.partition("| what fails | faults |")[2].partition("\n\n")[0])
    assert sorted(faults) == sorted(Faults.model_fields)
    for name, value in re.findall(r"--fault '?([a-z_]+)=([^`' ]+)", PAGE):
        given = [f"{name}={value}"] if not value.startswith("[") else []
        settings = EmulatorSettings.model_validate({"store": "x", "fault": given})
        assert not given or settings.read_faults() != Faults()


def test_its_yaml() -> None:
    """The workflow and the services set the variables by which clients find the emulator."""
    workflow, services = (yaml.safe_load(block) for block in code_of(PAGE, "yaml"))
    for environment in (workflow["jobs"]["test"]["env"], services["services"]["app"]["environment"]):
        assert {"AWS_ENDPOINT_URL_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"} < set(environment)
    options = re.findall(r"--([a-z-]+)", services["services"]["bedrock"]["command"])
    assert {option.replace("-", "_") for option in options} <= set(EmulatorSettings.model_fields)
