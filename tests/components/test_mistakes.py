"""Mistakes that people make in a defs.yaml: each is told with the file, what is wrong and what to write."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from bedrock_assets.components.load import find_workloads, load_pipeline
from bedrock_assets.errors import BedrockAssetsError
from tests.labs.stages import HAIKU

PLAIN: dict[str, Any] = {"name": "bad", "source": {"path": "../../../rows.csv"}, "model": HAIKU}
PLAIN["task"] = {"text": {"prompt": "Say {text}"}}
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a list": ({"owners": "me@x.org"}, "attributes.owners: a list is expected; write [me@x.org]"),
    "a name": ({"name": "My-Reviews"}, "attributes.name: 'My-Reviews' cannot be; write lower-case letters, digits"),
    "a Region": ({"model": {"model": HAIKU, "region": "Frankfurt"}}, "write an AWS Region, such as eu-central-1"),
    "an account": ({"model": {"model": HAIKU, "account": 123456789012}}, "this is a number; put it in quotes"),
    "a canary": ({"canary": True}, "attributes.canary: say how many rows to send first: `canary: 200`"),
    "no placeholder": ({"task": {"text": {"prompt": "Hi"}}}, "prompt 'task.text.prompt' has no placeholder"),
    "no id": ({"source": {"path": "../../../rows.csv", "id_column": "no"}}, "id_column 'no' is not in the dataset"),
    "no column": ({"task": {"text": {"prompt": "{txt}"}}}, "column 'txt' named in prompt 'task.text.prompt' is not"),
    "a text as a source": ({"source": "rows.csv"}, "attributes.source: keys and values are expected, and this is 'r"),
    "a schedule": ({"schedule": "every day"}, "schedule 'every day' in 'UTC' is not a cron expression"),
    "a name twice": ({"name": "good"}, "both have the name 'good', which is their folder in the store; rename one"),
}
TEXTS: dict[str, tuple[str, str]] = {
    "an empty file": ("", "bad/defs.yaml is empty, so that Dagster loads nothing"),
    "braces": ("prompt: {text}", "attributes.task.text.prompt: YAML reads {text} without quotes as keys; put it in"),
    "braces and text": ("prompt: {text} please", "line 9: `prompt: {text} please` has a text with braces or a colon"),
    "a colon": ("prompt: Say this: {text}", "line 9: `prompt: Say this: {text}` has a text with braces or a colon"),
    "a type": ("type: bedrock_assets.BatchInferenc\n", "did you mean bedrock_assets.BatchInference?"),
}


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a pipeline, beside a good one."""
    (tmp_path / "dg.toml").write_text('directory_type = "project"\n[project]\nroot_module = "shop"\n')
    pl.DataFrame({"id": ["1", "2"], "text": ["a", "b"]}).write_csv(tmp_path / "rows.csv")
    for name in ("good", "bad"):
        (tmp_path / "shop/defs" / name).mkdir(parents=True)
    (tmp_path / "shop/defs/good/defs.yaml").write_text(document(name="good"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "shop/defs/bad/defs.yaml"


def document(**changes: Any) -> str:
    """A defs.yaml."""
    return yaml.safe_dump(
        {"type": "bedrock_assets.BatchInference", "attributes": {**PLAIN, **changes}}, sort_keys=False
    )


def test_what_people_write(bad: Path) -> None:
    """What `doctor` looks at: the file, the cause and the cure, in one line; the good pipeline is read as ever."""
    head = document().partition("  task:")[0]
    texts = {name: (document(**changes), told) for name, (changes, told) in SETTINGS.items()}
    for name, (line, told) in TEXTS.items():
        text = f"{head}  task:\n    text:\n      {line}\n" if line.startswith("prompt") else line
        texts[name] = (text, told)
    wrong = dict[str, object]()
    for name, (text, told) in texts.items():
        bad.write_text(text)
        specs, errors = find_workloads(whole=True)
        said = str(errors[0]) if errors else ""
        if len(errors) != 1 or not said.startswith(str(bad)) or told not in said or "\n" in said:
            wrong[name] = errors
        if "good" not in [spec.name for spec in specs]:
            wrong[f"{name}: the others"] = specs
    assert not wrong


def test_a_type_in_quotes(bad: Path) -> None:
    """Keys and values may be in quotes."""
    bad.write_text(document().replace("type: bedrock_assets.BatchInference", '"type": "bedrock_assets.BatchInference"'))
    assert [spec.name for spec in find_workloads(whole=True)[0]] == ["bad", "good"]


def test_a_copy_is_not_taken_for_the_original(bad: Path) -> None:
    """A pipeline is found by its name although a copy in another folder still has it; the copy is refused."""
    bad.write_text(document(name="good"))
    assert load_pipeline("good").folder == bad.parent.parent / "good"
    with pytest.raises(BedrockAssetsError, match="both have the name 'good'"):
        load_pipeline("bad")


def test_a_relative_path_starts_at_the_yaml(bad: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever folder a process is in, the rows are the same."""
    bad.write_text(document())
    for folder in (tmp_path, bad.parent, tmp_path / "shop"):
        monkeypatch.chdir(folder)
        assert load_pipeline("bad").source.n_rows() == 2
