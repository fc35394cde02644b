"""The public face of the package: its names, what they need of Dagster, and the version that Dagster shows."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import dagster as dg
from dagster_shared.libraries import DagsterLibraryRegistry

import bedrock_assets
from bedrock_assets.jobs import dagster_internals

PACKAGE = Path(bedrock_assets.__file__).parent
PAGE = (PACKAGE / "docs" / "python.md").read_text("utf-8")


def test_the_names_are_sorted_and_few() -> None:
    """So few that a page has them all, in the order in which they are looked up."""
    assert bedrock_assets.__all__ == sorted(set(bedrock_assets.__all__))
    assert 15 <= len(bedrock_assets.__all__) <= 20


def test_every_name_is_documented() -> None:
    """Each can be imported, has a docstring of its own, and a row on the page."""
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == set(bedrock_assets.__all__)
    for name in bedrock_assets.__all__:
        public = getattr(bedrock_assets, name)
        assert (public.__name__, bool(public.__doc__)) == (name, True)
        assert public.__module__.startswith("bedrock_assets.")
        assert name in dir(bedrock_assets)


def test_the_package_itself_does_not_load_dagster() -> None:
    """Errors and specs come without Dagster, which takes seconds to load."""
    code = "import sys, bedrock_assets as b; b.ConfigError, b.PipelineSpec; assert 'dagster' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name() -> None:
    """A name that is not there is an AttributeError, as in any module."""
    assert not hasattr(bedrock_assets, "batch_inference")


def test_dagster_knows_the_version() -> None:
    """Dagster shows the version of the package with the code location."""
    assert bedrock_assets.build_batch_inference
    assert DagsterLibraryRegistry.get()["bedrock-assets"] == version("bedrock-assets") == bedrock_assets.__version__


def test_private_modules_of_dagster_stand_in_one_file() -> None:
    """What is not public in Dagster is imported in one file, and is there in the versions that are allowed."""
    importing = [path for path in PACKAGE.rglob("*.py") if re.search(r"(import|from) dagster\._", path.read_text())]
    assert [path.name for path in importing] == ["dagster_internals.py"]
    for name in dagster_internals.__all__:
        assert getattr(dagster_internals, name).__module__.startswith("dagster._")
    pyproject = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    (pin,) = [one for one in pyproject["project"]["dependencies"] if one.startswith("dagster>")]
    lowest, above = re.fullmatch(r"dagster>=([\d.]+),<([\d.]+)", pin).groups()  # type: ignore[union-attr]
    assert _parts(lowest) <= _parts(dg.__version__) < _parts(above)
    assert _parts(above)[1] == _parts(lowest)[1] + 1


def _parts(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def test_types_ship() -> None:
    """Type checkers read the package's annotations."""
    assert (PACKAGE / "py.typed").is_file()
