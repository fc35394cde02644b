"""The pages that are walked through: every command and every block of code runs, and prints what the page shows."""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets.emulator import Emulator
from bedrock_assets.emulator.settings import ENDPOINT_VARIABLES
from tests.docs.blocks import DOCS, code_of
from tests.docs.walk import plain, printed

PROJECT = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "shop"\n',
    "src/shop/__init__.py": "",
    "src/shop/defs/__init__.py": "",
    "src/shop/definitions.py": """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
}
"""What `create-dagster project shop` writes, as far as it matters."""


def test_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a row to a record, a job, an answer and the table."""
    monkeypatch.chdir(tmp_path)
    walked = list(printed((DOCS / "step-by-step.md").read_text("utf-8"), tmp_path))
    assert [out for out, shown in walked if shown is not None] == [shown for _, shown in walked if shown is not None]
    assert sum(shown is not None for _, shown in walked) == 6


def test_from_the_aws_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the three ways ends in what is told of its file or table, and the requests are in the sample's form."""
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with Emulator(str(tmp_path / "buckets")) as emulator:
        for name in ENDPOINT_VARIABLES:
            monkeypatch.setenv(name, emulator.endpoint_url)
        queue, calls, jokes = (out for out, _ in printed((DOCS / "from-aws-samples.md").read_text("utf-8"), tmp_path))
    assert re.search(r"\brows +2\b", queue), queue
    assert re.search(r"\brows +2\b", calls), calls
    assert re.search(r"Tell me a joke about lamps in less than 50 words", jokes), jokes
    first = json.loads((tmp_path / "calls/requests/00000-of-00001.jsonl").read_text("utf-8").splitlines()[0])
    assert first["recordId"] == "CALL0000001"
    assert {"anthropic_version", "max_tokens", "messages"} <= set(first["modelInput"])


@pytest.mark.slow
def test_from_csv_to_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole tutorial, with the local stack: the demo ends with the lines that the page shows."""
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    walked = list(printed((DOCS / "from-csv-to-table.md").read_text("utf-8"), tmp_path))
    shown = [(out, wanted) for out, wanted in walked if wanted]
    assert len(shown) == 2
    for out, wanted in shown:
        said = {" ".join(line.split()) for line in out.splitlines()}
        # The steps on the way begin with a time. A fast machine may be past one before anybody looks.
        lines = [" ".join(line.split()) for line in wanted.splitlines()]
        assert [line for line in lines if line not in said and not line.startswith("* ")] == [], out
    assert re.search(r"\brows +8\b", walked[3][0]), walked[3][0]


def test_my_project() -> None:
    """The asset that takes the table depends on it."""
    names: dict[str, Any] = {}
    for block in code_of((DOCS / "my-project.md").read_text("utf-8")):
        exec(block, names)  # noqa: S102 - the page's own code
    asset = names["failed_reviews"]
    assert asset.asset_deps[asset.key] == {dg.AssetKey(["reviews", "joined_table"])}


def test_both_have_the_table_of_the_readme() -> None:
    """The README's ten lines of YAML are those of both walks, and its five rows are among the rows that they show."""
    readme = (DOCS.parent.parent / "README.md").read_text("utf-8")
    yaml = readme.partition("```yaml\n")[2].partition("```")[0].rstrip()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in re.findall(r"^\| r\d .*", readme, re.M)]
    assert (len(yaml.splitlines()), len(rows)) == (10, 5)
    walks = [(DOCS / name).read_text("utf-8") for name in ("step-by-step.md", "from-csv-to-table.md")]
    for page in walks:
        assert f"\n{yaml}\n" in page
    shown = plain(walks[0])
    for row_id, text, summary, about, stars, status in rows:
        assert f'{row_id},"{text}"' in walks[0]
        assert all(sentence in text for sentence in summary.split(". "))
        assert f"│ {row_id}  ┆ {about:<8} ┆ {stars:<5} ┆ {status:<6} ┆" in shown
