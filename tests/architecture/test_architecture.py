"""The imports of the package: no circle, none against the contract, and the picture in the docs is theirs."""

import json
import subprocess
import sys
from pathlib import Path
from xml.dom import minidom

import pytest

from tests.architecture.__main__ import HERE, report
from tests.architecture.drawing import draw
from tests.architecture.imports import Architecture, read_architecture

PICTURE = HERE / "bedrock_assets" / "docs" / "architecture.svg"


@pytest.fixture(scope="module")
def house() -> Architecture:
    """The package as it is."""
    return read_architecture(HERE)


def test_imports_run_in_no_circle(house: Architecture) -> None:
    """Neither modules nor packages import each other in a circle."""
    summary = house.summary()
    assert (summary["module_circles"], summary["package_circles"]) == ([], [])


def test_imports_point_down(house: Architecture) -> None:
    """No package imports one above it, or beside it on its floor; each is on a floor, or stands apart on purpose."""
    assert house.summary()["backward"] == []
    assert {*house.files} - {name for floor in house.floors for name in floor.packages} == {"emulator"}


def test_the_picture_is_current(house: Architecture) -> None:
    """The picture in the docs is what the command draws."""
    command = f"python -m tests.architecture --svg {PICTURE.relative_to(HERE)}"
    assert PICTURE.read_text() == draw(house), f"the imports between packages have changed; run `{command}`"


FLAT = {
    "__init__": "",
    "a": "from flat_house import b\nfrom flat_house.c import x\n",
    "b": "import flat_house.a\n",
    "c": "import json\n\n\nx = json\n",
}


def test_a_flat_package_with_a_circle(tmp_path: Path) -> None:
    """Each module of a flat package is a room; a circle, and an arrow against a contract, come with their imports."""
    folder = tmp_path / "flat_house"
    folder.mkdir()
    for name, text in FLAT.items():
        (folder / f"{name}.py").write_text(text)
    flat = read_architecture(tmp_path, "flat_house")
    assert (flat.files, flat.lines, flat.floors) == (dict.fromkeys("abc", 1), {"a": 2, "b": 1, "c": 4}, ())
    summary = flat.summary()
    both = ["flat_house.a -> flat_house.b (line 1)", "flat_house.b -> flat_house.a (line 1)"]
    assert summary["package_circles"] == [{"packages": ["a", "b"], "imports": both}]
    assert summary["module_circles"] == [{"modules": ["flat_house.a", "flat_house.b"], "imports": both}]
    assert report(flat)[-1] == "no contract"
    contract = '[[tool.importlinter.contracts]]\ncontainers = ["flat_house"]\nlayers = ["b | c", "a"]\n'
    (tmp_path / "pyproject.toml").write_text(contract)
    judged = read_architecture(tmp_path, "flat_house")
    assert judged.backward == [("a", "b"), ("a", "c")]
    for one in (flat, judged):
        assert minidom.parseString(draw(one, sizes=True)).documentElement.tagName == "svg"  # noqa: S318 - our own


def test_the_command(tmp_path: Path) -> None:
    """It prints the report as text and as JSON, and draws."""
    command = [sys.executable, "-m", "tests.architecture"]

    def run(*options: str) -> str:
        return subprocess.run([*command, *options], cwd=HERE, check=True, capture_output=True, text=True).stdout

    summary = json.loads(run("--json"))
    assert run().startswith(f"{summary['n_modules']} modules in {summary['n_packages']} packages")
    run("--svg", str(tmp_path / "a.svg"))
    assert (tmp_path / "a.svg").read_text() == PICTURE.read_text()
