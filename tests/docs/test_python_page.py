"""The page about Python: its code runs, and its YAML loads, one block after the other."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from bedrock_assets import BatchInference, PipelineSpec
from bedrock_assets.components.batch import BatchComponent

PAGE = (Path(__file__).parents[2] / "bedrock_assets" / "docs" / "python.md").read_text("utf-8")
ROWS = pl.DataFrame({"id": ["a", "b"], "text": ["good", "bad"]})


def blocks(language: str) -> list[str]:
    """The code of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the code of the page defines, run in a folder with the reviews."""
    ROWS.write_csv(tmp_path / "reviews.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ROLE_ARN", "arn:aws:iam::123456789012:role/batch")
    names: dict[str, Any] = {"__name__": "page", "__file__": str(tmp_path / "page.py")}
    for block in blocks("python"):
        exec(block, names)  # noqa: S102 - the page's own code
    return names


def specs_of(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """The specs of all assets, by their keys."""
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_pipelines_without_yaml(names: dict[str, Any]) -> None:
    """The definitions load, with assets, checks, sensors and resources, and the specs say what the page says."""
    dg.Definitions.validate_loadable(names["defs"])
    batch = names["batch"]
    specs = specs_of(batch)
    assert len(specs) == 8
    table = specs["review_labels/joined_table"]
    assert (table.group_name, list(table.owners)) == ("reviews", ["team:support"])
    assert table.tags["tier"] == "gold"
    assert table.kinds == {"reviews", "polars", "parquet"}
    assert specs["review_summaries/joined_table"].group_name == "review_summaries"
    assert {sensor.name for sensor in batch.sensors} == {"bedrock_jobs_sensor", "joined_table_sensor"}
    assert len(batch.asset_checks) == 5
    assert set(batch.resources) == {"bedrock_batch_store", "bedrock_batch", "bedrock_batch_events"}


def test_the_hook(names: dict[str, Any]) -> None:
    """The function that changes specs is called for each asset."""
    tagged = specs_of(names["tagged"])
    assert {spec.tags["stage"] for spec in tagged.values()} == {key.split("/")[1] for key in tagged}
    assert all(spec.metadata["runbook"] for spec in tagged.values())


def test_resources_in_code(names: dict[str, Any]) -> None:
    """Resources that are given replace those from the environment, and the third one stays."""
    resources = names["own"].resources
    assert resources["bedrock_batch_store"].open().url == "s3://my-bucket/batch"
    assert resources["bedrock_batch"].tags == {"team": "support"}
    assert resources["bedrock_batch_events"].open() is None


def test_the_error(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The example of an error raises one, which names the pipeline's model."""
    exec(next(block for block in blocks("python") if "except ConfigError" in block), names)  # noqa: S102
    assert "'nova-2-lite' is no model id" in capsys.readouterr().out


def test_the_component(names: dict[str, Any]) -> None:
    """The YAML of the component's class loads as the page says, and changes the specs."""
    attributes = yaml.safe_load(blocks("yaml")[0])["attributes"]
    context = dg.ComponentTree.for_test().load_context
    scope = names["Reviews"].get_additional_scope()
    component = names["Reviews"].from_attributes_dict(
        attributes=attributes, context=context.with_rendering_scope(scope)
    )
    assert isinstance(component, BatchComponent)
    assert component.spec.model == "us.amazon.nova-2-lite-v1:0"
    assert component.get_asset_spec(dg.AssetSpec("a")).tags == {"shop": "north"}
    assert isinstance(names["load"](context), BatchInference)


def test_the_templates(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The YAML with expressions gives the values that it should, and its prompt as it is written."""
    attributes = yaml.safe_load(blocks("yaml")[1])["attributes"]
    monkeypatch.setenv("REVIEWS", str(tmp_path))
    monkeypatch.setenv("MODEL", "amazon.nova-lite-v1:0")
    spec = BatchInference.from_attributes_dict(attributes=attributes).spec
    assert isinstance(spec, PipelineSpec)
    assert (spec.description, spec.limits.max_jobs) == ("Reviews of all shops", 5)
    assert spec.source.path == f"{tmp_path}/*.csv"
    assert spec.task.text
    assert spec.task.text.prompt == attributes["task"]["text"]["prompt"]
