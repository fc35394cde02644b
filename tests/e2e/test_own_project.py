"""A user's own Dagster project, with the package installed from its wheel: no file of this repository is in sight."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
N_ROWS = 120
FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "shop"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"
""",
    "src/shop/__init__.py": "",
    "src/shop/definitions.py": """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
    "src/shop/defs/__init__.py": "",
    "src/shop/defs/reviews/defs.yaml": """\
type: bedrock_assets.BatchInference
attributes:
  name: reviews
  source: {path: reviews.csv, id_column: id}
  model: "{{ env.MODEL }}"
  key_prefix: "{{ prefix }}"
  task: {text: {prompt: 'Summarise as {{"summary": "..."}}: {text}', max_tokens: "{{ 8 * 8 }}"}}
template_vars_module: .variables
""",
    "src/shop/defs/reviews/variables.py": """\
import dagster as dg


@dg.template_var
def prefix() -> list[str]:
    return ["marts"]
""",
    ".env": "MODEL=amazon.nova-lite-v1:0\n",
    # A resource that is called as ours were once.
    "src/shop/defs/unhappy.py": """\
import dagster as dg


@dg.asset(deps=[["marts", "reviews", "joined_table"]])
def unhappy(store: dg.ResourceParam[str]) -> None: ...


@dg.definitions
def resources():
    return dg.Definitions(resources={"store": "our own"})
""",
}


class Shop:
    """The project, and an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder / "shop", folder / "venv" / "bin"
        for name, text in FILES.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        rows = {"id": [f"r{i}" for i in range(N_ROWS)], "text": [f"Lamp {i} is bright." for i in range(N_ROWS)]}
        pl.DataFrame(rows).write_csv(self.folder / "reviews.csv")
        self._run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        self._run(sys.executable, "-m", "venv", folder / "venv")
        (wheel,) = folder.glob("*.whl")
        self.shipped = zipfile.ZipFile(wheel).namelist()
        self.run("pip", "install", "--quiet", f"{wheel}[demo]", "dagster-dg-cli")
        self.run("pip", "install", "--quiet", "--no-deps", "--editable", ".")

    def run(self, command: str, *arguments: str) -> str:
        """The output of a command of the environment, run in the project."""
        return self._run(self.bin / command, *arguments)

    def _run(self, *command: str | Path) -> str:
        unset = ("PYTHONPATH", "DAGSTER_HOME", "VIRTUAL_ENV")
        env = {name: value for name, value in os.environ.items() if name not in unset}
        env["PATH"] = f"{self.bin}:{env['PATH']}"
        done = subprocess.run([*map(str, command)], cwd=self.folder, env=env, capture_output=True, text=True)  # noqa: PLW1510
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.mark.slow
def test_own_project(tmp_path: Path) -> None:
    """One defs.yaml loads without Python and resources, and runs from end to end; commands find it by its name."""
    shop = Shop(tmp_path)
    assert "bedrock_assets/py.typed" in shop.shipped
    assert not [name for name in shop.shipped if name.startswith("tests/") or "/test_" in name]
    assert "loaded successfully" in shop.run("dg", "check", "defs")
    assert "validated successfully" in shop.run("dg", "check", "yaml")
    assert f"records            {N_ROWS}" in shop.run("bedrock-assets", "plan", "reviews")
    shop.run("bedrock-assets", "demo", "reviews", "--home", "home")
    table = pl.read_parquet(shop.folder / "home/s3/bedrock-assets/reviews/table/part-*.parquet")
    assert table["id"].to_list() == [f"r{i}" for i in range(N_ROWS)]
    assert set(table["status"]) == {"ok"}
    shop.run(
        "bedrock-assets",
        "new",
        "labels",
        "--source",
        "reviews",
        "--model",
        "amazon.nova-lite-v1:0",
        "--prompt",
        "Label {text}",
    )
    assert (shop.folder / "src/shop/defs/labels/defs.yaml").is_file()
    assert "loaded successfully" in shop.run("dg", "check", "defs")
