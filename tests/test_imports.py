"""What a start loads: each run is a process that pays it. Time is the machine's; which modules are loaded is ours."""

import subprocess
import sys

import pytest

HEAVY = (
    "datasets",
    "duckdb",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "starlette",
    "torch",
    "transformers",
    "uvicorn",
)
OF_LOCATION = (*HEAVY, "boto3", "dagster_aws", "alembic", "sqlalchemy")
OF_HELP = (*HEAVY, "boto3", "botocore", "dagster", "jinja2", "polars", "urllib.request", "yaml")

LOCATION = """
from bedrock_assets import definitions
assert len(list(definitions.defs().resolve_all_asset_specs())) > 3
"""
HELP = """
from typer.testing import CliRunner
from bedrock_assets.cli.app import app
assert "emulate" in CliRunner().invoke(app, ["--help"]).output
"""


@pytest.mark.parametrize(("start", "heavy"), [(LOCATION, OF_LOCATION), (HELP, OF_HELP)], ids=["location", "help"])
def test_a_start_loads_no_heavy_package(start: str, heavy: tuple[str, ...]) -> None:
    """Definitions, assets, sensors and checks load without datasets and its like, and `--help` without polars too."""
    code = f"{start}\nimport sys\nprint(*(name for name in {heavy!r} if name in sys.modules))"
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout.strip()) == (0, ""), told.stderr
