"""A user's own Dagster project, with the package installed from its wheel: no file of this repository is in sight."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

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
  source: {path: ../../../../reviews.csv, id_column: id}
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
from pathlib import Path

import dagster as dg
import polars as pl


@dg.asset(ins={"table": dg.AssetIn(["marts", "reviews", "joined_table"])})
def unhappy(table: pl.LazyFrame, store: dg.ResourceParam[str]) -> None:
    Path("unhappy.txt").write_text(str(table.filter(pl.col("status") == "ok").select(pl.len()).collect().item()))
""",
    "src/shop/defs/resources.py": """\
import dagster as dg


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

    def run(self, command: str, *arguments: str, env: Mapping[str, str] = MappingProxyType({})) -> str:
        """The output of a command of the environment, run in the project."""
        return self._run(self.bin / command, *arguments, env=env)

    @contextmanager
    def dev(self) -> Generator[dict[str, str]]:
        """The project on the local stack for the length of the block; the variables that point at it."""
        command = [self.bin / "bedrock-assets", "dev", "--home", "home", "--port", "0", "--speed", "100", "--json"]
        stack = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True)
        try:
            assert stack.stdout
            assert "ui" in json.loads(stack.stdout.readline())
            yield json.loads((self.folder / "home" / "environment.json").read_text())
        finally:
            stack.send_signal(signal.SIGINT)
            stack.wait(60)

    @property
    def env(self) -> dict[str, str]:
        """Variables of a shell in which the environment is activated."""
        unset = ("PYTHONPATH", "DAGSTER_HOME", "VIRTUAL_ENV")
        env = {name: value for name, value in os.environ.items() if name not in unset}
        return {**env, "PATH": f"{self.bin}:{env['PATH']}"}

    def _run(self, *command: str | Path, env: Mapping[str, str] = MappingProxyType({})) -> str:
        done = subprocess.run(  # noqa: PLW1510
            [*map(str, command)], cwd=self.folder, env={**self.env, **env}, capture_output=True, text=True
        )
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
    with shop.dev() as env:
        told = shop.run("bedrock-assets", "run", "reviews", "--wait", "--home", "home")
        assert "the table is complete" in told
        shop.run("dg", "launch", "--assets", "unhappy", env=env)
    assert (shop.folder / "unhappy.txt").read_text() == str(N_ROWS)
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
