"""The page about sources: its YAML loads, its assets are sources as it says, and its messages are the code's."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.source import KINDS, SourceSpec
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.manifests import RawManifest
from bedrock_assets.storage.store import Store
from tests.docs.blocks import CODE, DOCS, code_of, messages_of
from tests.labs.instances import in_memory
from tests.labs.stages import HAIKU

PAGE = (DOCS / "sources.md").read_text("utf-8")


def test_its_sources_are_all() -> None:
    """The first table has each kind of source."""
    table = "\n".join(line for line in PAGE.partition("\n\n## ")[0].splitlines() if line.startswith("| `"))
    told = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(told) == sorted(KINDS)
    assert set(KINDS) <= set(SourceSpec.model_fields)


def test_its_yaml() -> None:
    """Each example loads, and shows what it is said to."""
    files, sql, delta, iceberg, value, path, order = [
        SourceSpec.model_validate(yaml.safe_load(text)["source"]) for text in code_of(PAGE, "yaml")
    ]
    assert files.files == "calls/*.txt"
    assert None not in (sql.sql, delta.delta, iceberg.iceberg)
    assert (value.upstream, value.needs_instance) == ((("reviews",),), True)
    assert (path.upstream, path.path) == ((("reviews",),), "exports/reviews.parquet")
    assert order.upstream == (("clean_exports",), ("shop", "reviews"))


@pytest.mark.parametrize(("asset", "where"), [("reviews", "reviews.parquet"), ("ratings", "its value")])
def test_its_assets(asset: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is a source of two rows, found as the page says."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in code_of(PAGE):
        exec(block, names)  # noqa: S102 - the page's own code
    spec = {
        "name": "calls",
        "source": {"asset": asset, "id_column": "id"},
        "model": HAIKU,
        "task": {"text": {"prompt": "Say {text}"}},
    }
    pipeline = Pipeline(PipelineSpec.model_validate(spec), tmp_path)
    resources = {
        "bedrock_batch_store": StoreResource(url=str(tmp_path / "bucket")),
        "bedrock_batch": dg.ResourceDefinition.none_resource(),
    }
    with in_memory() as instance:
        assert dg.materialize(
            [names[asset], *build_assets(pipeline)],
            selection=[dg.AssetKey(asset), dg.AssetKey(["calls", "raw_dataset"])],
            resources=resources,
            instance=instance,
        ).success
    manifest = Store(str(tmp_path / "bucket")).read_model("calls/raw/manifest.json", RawManifest)
    assert manifest
    assert (manifest.n_rows, manifest.source) == (2, f"asset {asset}: {where}")


@pytest.mark.parametrize("message", messages_of(PAGE))
def test_a_message_is_said_by_the_code(message: str) -> None:
    """Each message of the page stands in the code."""
    assert message in CODE
