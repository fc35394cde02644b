"""What the pages about configuration show is what the code does: families, schema, tasks, inbox, example of a check."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import yaml

import bedrock_assets
from bedrock_assets.config.answer_schema import parse_schema
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.source import SourceSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.families import FAMILIES
from bedrock_assets.inbox.inbox import Inbox
from tests.labs.stages import TITAN, build_pipeline

DOCS = Path(bedrock_assets.__file__).parent / "docs"
PAGE = (DOCS / "configuration.md").read_text("utf-8")


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n#")[0]


def test_every_family_is_listed() -> None:
    """The table has a row for each registered family and none for another."""
    page = (DOCS / "models.md").read_text("utf-8")
    formats = page.partition("## The formats of requests\n")[2].partition("\n#")[0]
    rows = [line.split("|")[1] for line in formats.splitlines() if line.startswith("| `")]
    named = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(FAMILIES)


def test_the_schema_is_one() -> None:
    """The example of a schema loads."""
    block = section("Structured answers").partition("```yaml\n")[2].partition("```")[0]
    assert set(parse_schema(yaml.safe_load(block)["schema"]).fields) == {"sentiment", "topics", "score", "author"}


def test_the_ready_tasks(tmp_path: Path) -> None:
    """Each example of a task loads over a file with the columns that it names, and has the columns that are told."""
    tasks = section("Ready tasks").partition("```yaml\n")[2].partition("```")[0]
    columns = {}
    for name, task in yaml.safe_load(tasks)["task"].items():
        used = set(re.findall(r"\{(\w+)\}", str(task).replace("{'", "")))
        pl.DataFrame({column: ["x"] for column in used}).write_parquet(tmp_path / "rows.parquet")
        schema = build_pipeline(tmp_path / "rows.parquet", task={name: task}).schema
        columns[name] = list(schema.fields) if schema else []
    assert columns == {
        "classify": ["label"],
        "extract": ["amount", "names"],
        "judge": ["reason", "score"],
        "compare": ["reason", "winner"],
        "text": [],
    }


def test_the_sources_of_ready_tasks() -> None:
    """Each example of rows that are not prompts, and of a chain, loads."""
    block = section("Ready tasks").rpartition("```yaml\n")[2].partition("```")[0]
    sources = [SourceSpec.model_validate(document["source"]) for document in yaml.safe_load_all(block)]
    assert [bool(s.expand or s.group_by or s.pipeline) for s in sources] == [True] * 3


def test_the_inbox() -> None:
    """The example of an inbox loads with an embedding model, and shows each setting that is an inbox's own."""
    block = (DOCS / "inbox.md").read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]
    attributes = yaml.safe_load(block)["attributes"]
    Inbox(InboxSpec.model_validate({**attributes, "model": TITAN}))
    own, shared = set(InboxSpec.model_fields) - set(WorkloadSpec.model_fields), set(WorkloadSpec.model_fields)
    assert own <= set(attributes)
    assert not [name for name in shared - {"targets"} | {"model"} if name not in block]


def test_the_example_check(tmp_path: Path) -> None:
    """The example of a check finds empty and repeated answers, and passes where there are none."""
    code = section("Structured answers").partition("```python\n")[2].partition("```")[0]
    code = code.replace("s3://my-bucket/batch/call_summaries/table/*.parquet", str(tmp_path / "*.parquet"))
    names: dict[str, Any] = {"dg": dg, "pl": pl}
    exec(code, names)  # noqa: S102 - the page's own code
    for answers, n_empty, n_repeated in ((["a", "b "], 0, 0), (["a", "a", " ", "c"], 1, 2)):
        pl.DataFrame({"response": answers, "status": "ok"}).write_parquet(tmp_path / "part.parquet")
        result = names["answers_differ"]()
        found = {name: value.value for name, value in result.metadata.items()}
        assert (result.passed, found) == (not n_empty, {"n_empty": n_empty, "n_repeated": n_repeated})


def test_every_key_is_told() -> None:
    """Each setting of a pipeline stands on the page."""
    told = set(re.findall(r"`(\w+)(?:\.\w+)?`", PAGE)) | set(re.findall(r"\b(\w+):", PAGE))
    keys = {field.alias or name for name, field in PipelineSpec.model_fields.items()}
    of_dagster = {"description", "owners", "group_name", "key_prefix", "asset_tags", "kinds", "schedule", "automation"}
    assert keys - told - of_dagster == set()
