"""Where commands find the pipelines: in the Dagster project around the current folder, or else in the demo."""

from pathlib import Path

import pytest

from bedrock_assets.components.load import load_pipeline, specs_of
from bedrock_assets.components.read_yaml import read_spec
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.project import DEMO, find_project

PYPROJECT = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "reviews"\n'
DEFS = """\
type: bedrock_assets.BatchInference
attributes:
  name: {name}
  source: {{path: rows.csv}}
  model: amazon.nova-lite-v1:0
  task: {{text: {{prompt: "Summarise: {{text}}", max_tokens: 64}}}}
"""


def add(project: Path, folder: str, name: str) -> Path:
    """Write the YAML of a pipeline into a folder of the project."""
    path = project / folder / "defs.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(DEFS.format(name=name))
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as `create-dagster project` lays it out, with one pipeline."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    add(tmp_path, "src/reviews/defs/reviews", "reviews")
    monkeypatch.chdir(tmp_path / "src/reviews/defs")
    return tmp_path


def test_a_project(project: Path) -> None:
    """It is found from any folder inside, with the module and the folder that `dg` uses."""
    found = find_project()
    assert (found.defs, found.folder) == (project / "src/reviews/defs", project)
    assert (found.module, found.source, found.name) == ("reviews.definitions", project / "src", project.name)


def test_its_pipelines(project: Path) -> None:
    """By name, also in folders of folders and where the folder has another name; the demo's are not among them."""
    add(project, "src/reviews/defs/calls/first", "early_calls")
    assert load_pipeline("early_calls").spec.name == "early_calls"
    assert load_pipeline("calls/first").spec.name == "early_calls"
    assert [spec.name for spec in specs_of(None)] == ["early_calls", "reviews"]
    with pytest.raises(ConfigError, match=r"src/reviews/defs; known: early_calls, reviews\. Give"):
        load_pipeline("conversation_summaries")


def test_other_layouts(tmp_path: Path) -> None:
    """A `dg.toml`, packages beside it, and components and code location in modules of other names."""
    settings = 'root_module = "calls"\ndefs_module = "calls.parts"\ncode_location_target_module = "calls.all"\n'
    (tmp_path / "dg.toml").write_text(f'directory_type = "project"\n[project]\n{settings}')
    (tmp_path / "calls/parts").mkdir(parents=True)
    found = find_project(tmp_path / "calls")
    assert (found.defs, found.module, found.source) == (tmp_path / "calls/parts", "calls.all", tmp_path)


def test_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder outside of a project, and one in a workspace of projects, have the demo's pipelines."""
    (tmp_path / "dg.toml").write_text('directory_type = "workspace"\n')
    monkeypatch.chdir(tmp_path)
    assert find_project() == DEMO
    assert load_pipeline("conversation_summaries").spec.name == "conversation_summaries"
    with pytest.raises(ConfigError, match=r"this folder is not in a Dagster project\); known: conversation"):
        load_pipeline("reviews")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.dg", "pyproject.toml cannot be read as TOML"),
        (PYPROJECT.replace("root_module", "name"), "has no `root_module`"),
        (PYPROJECT.replace("reviews", "nothing"), r"has no folder .*src/nothing/defs; create it"),
        (PYPROJECT.replace("reviews", "../../.."), r"is not a module; correct `root_module` or `defs_module`"),
        ("tool = 3", "its Dagster settings are not tables"),
        ('[tool.dg]\ndirectory_type = "project"\nproject = 3', "its Dagster settings are not tables"),
    ],
)
def test_a_wrong_project(project: Path, text: str, message: str) -> None:
    """A project file that is wrong is an error that names it."""
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        find_project()


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"type: x.Y\n---\n", b"a: !tag b\n", b"\xff"])
def test_files_of_others(project: Path, content: bytes) -> None:
    """Whatever is in a file that does not name our components, it is passed over."""
    add(project, "src/reviews/defs/dbt", "unused").write_bytes(content)
    assert [spec.name for spec in specs_of(None)] == ["reviews"]


def test_an_empty_document(project: Path) -> None:
    """A separator at the end of a file makes no second document."""
    path = add(project, "src/reviews/defs/calls", "calls")
    path.write_text(path.read_text() + "---\n")
    assert load_pipeline("calls").spec.name == "calls"


def test_a_broken_neighbour(project: Path) -> None:
    """A pipeline is found beside one whose file is wrong; if none has the name, the error is about that file."""
    add(project, "src/reviews/defs/folder/inner", "nested")
    add(project, "src/reviews/defs/broken", "broken").write_text("type: bedrock_assets.BatchInference\nattributes: {")
    assert load_pipeline("nested").spec.name == "nested"
    with pytest.raises(ConfigError, match=r"broken/defs\.yaml is not YAML"):
        load_pipeline("nothing")


def test_several_documents(project: Path) -> None:
    """Two pipelines in one file are an error."""
    path = add(project, "src/reviews/defs/two", "a")
    path.write_text(DEFS.format(name="a") + "---\n" + DEFS.format(name="b"))
    with pytest.raises(ConfigError, match="several YAML documents; give each"):
        read_spec(path)


@pytest.mark.parametrize(
    "text", ["a: " + "[" * 10_000, "\n".join(" " * i + "a:" for i in range(2_000)), "a: 2026-99-99"]
)
def test_yaml_that_python_cannot_hold(tmp_path: Path, text: str) -> None:
    """YAML nested ten thousand deep, or with a day that does not exist, is an error of the file."""
    (tmp_path / "defs.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"defs\.yaml is (nested too deeply|not YAML)"):
        read_spec(tmp_path / "defs.yaml")
