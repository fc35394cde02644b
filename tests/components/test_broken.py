"""Files that are wrong: what stands in for each of them, and what the others do meanwhile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from bedrock_assets.resources.store import StoreResource
from tests.labs.instances import in_memory

SPEC: dict[str, Any] = {
    "source": {"path": "a.parquet", "id_column": "id"},
    "model": "us.amazon.nova-2-lite-v1:0",
    "task": {"text": {"prompt": "Say {text}"}},
}
READER = {**SPEC, "source": {"pipeline": "reviews"}, "output_prefix": "b_"}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads a project that has these attributes in a folder each; by group, the assets and what is wrong with them."""
    monkeypatch.delenv("DAGSTER_IS_DEFS_VALIDATION_CLI", raising=False)

    def definitions(folders: Mapping[str, Mapping[str, Any]]) -> dg.Definitions:
        with create_defs_folder_sandbox() as sandbox:
            for folder, attributes in folders.items():
                path = sandbox.defs_folder_path / folder / "defs.yaml"
                path.parent.mkdir()
                path.write_text(yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": attributes}))
            with sandbox.build_all_defs() as defs:
                dg.Definitions.validate_loadable(defs)
                return defs

    return definitions


def errors(defs: dg.Definitions) -> dict[str, str]:
    """Of each asset whose file is wrong, by key, why."""
    specs = defs.resolve_all_asset_specs()
    return {s.key.to_user_string(): s.description or "" for s in specs if "Cannot be loaded" in (s.description or "")}


def test_a_circle(load: Any) -> None:
    """Two pipelines that read each other's table are both told so; a third one works."""
    one = {**READER, "name": "one", "source": {"pipeline": "two"}}
    two = {**READER, "name": "two", "source": {"pipeline": "one"}, "output_prefix": "c_"}
    found = errors(load({"one": one, "two": two, "reviews": {**SPEC, "name": "reviews"}}))
    assert {key.split("/")[0] for key in found} == {"one", "two"}
    assert "source.pipeline: one reads two reads one; let one of them read another source" in found["one/raw_dataset"]


@pytest.mark.parametrize("name", [None, ["x"], "Not A Name", True])
def test_without_a_name(load: Any, name: Any) -> None:
    """A name that cannot be read is taken to be the folder's, so that what reads the table goes on."""
    found = errors(load({"reviews": {**SPEC, "name": name}, "reader": {**READER, "name": "reader"}}))
    assert {key.split("/")[0] for key in found} == {"reviews"}
    assert "reviews/joined_table" in found


def test_renamed_onto_its_reader(load: Any) -> None:
    """The clash is told at the file that was renamed, under its folder's name; the other one works."""
    found = errors(load({"reviews": {**SPEC, "name": "reader"}, "reader": {**READER, "name": "reader"}}))
    assert {key.split("/")[0] for key in found} == {"reviews"}
    assert "both have the name 'reader'" in found["reviews/raw_dataset"]


def test_runs_that_were_launched_before(load: Any, tmp_path: Path) -> None:
    """The job that collects and the checks are still there, and fail with the sentence."""
    attributes = {**SPEC, "name": "reviews", "task": {"classify": {"text": "{text}", "labels": ["a", "b"]}}}
    more = {"canary": 5, "gold": "human"}
    whole = load({"reviews": {**attributes, **more}})
    broken = load({"reviews": {**attributes, **more, "modell": "x"}})
    names = [
        {key.to_user_string() for check in d.asset_checks or () for key in check.check_keys} for d in (whole, broken)
    ]
    assert names[0] == names[1]
    resources = {"bedrock_batch_store": StoreResource(url=str(tmp_path / "bucket"))}
    with in_memory() as instance:
        instance.add_dynamic_partitions("reviews_shards", ["00000-of-00001"])
        job = dg.Definitions.merge(broken, dg.Definitions()).resolve_job_def("reviews_collect")
        result = job.execute_in_process(
            instance=instance, partition_key="00000-of-00001", raise_on_error=False, resources=resources
        )
        assert not result.success
        failures = [event.step_failure_data.error for event in result.get_step_failure_events()]
        assert any("unknown key 'modell'" in str(error) for error in failures)
        assert not instance.fetch_materializations(dg.AssetKey(["reviews", "batch_outputs"]), limit=1).records
