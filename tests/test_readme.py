"""What the README shows is what the code does: its families, its schema, and its example of a check."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import yaml

from bedrock_assets.answer_schema import parse_schema
from bedrock_assets.families import FAMILIES

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def section(title: str) -> str:
    """The text under a heading."""
    return README.partition(f"### {title}\n")[2].partition("\n#")[0]


def test_every_family_is_listed() -> None:
    """The table has a row for each registered family and none for another."""
    rows = [line.split("|")[1] for line in section("Models").splitlines() if line.startswith("| `")]
    named = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(FAMILIES)


def test_the_schema_is_one() -> None:
    """The example of a schema loads."""
    block = section("Structured answers").partition("```yaml\n")[2].partition("```")[0]
    assert set(parse_schema(yaml.safe_load(block)["schema"]).fields) == {"sentiment", "topics", "score", "author"}


def test_the_example_check(tmp_path: Path) -> None:
    """The example of a check finds empty and repeated answers, and passes where there are none."""
    code = section("Structured answers").partition("```python\n")[2].partition("```")[0]
    code = code.replace("s3://my-bucket/batch/call_summaries/table/*.parquet", str(tmp_path / "*.parquet"))
    names: dict[str, Any] = {"dg": dg, "pl": pl}
    exec(code, names)  # noqa: S102 - the README's own code
    for answers, n_empty, n_repeated in ((["a", "b "], 0, 0), (["a", "a", " ", "c"], 1, 2)):
        pl.DataFrame({"response": answers, "status": "ok"}).write_parquet(tmp_path / "part.parquet")
        result = names["answers_differ"]()
        found = {name: value.value for name, value in result.metadata.items()}
        assert (result.passed, found) == (not n_empty, {"n_empty": n_empty, "n_repeated": n_repeated})
