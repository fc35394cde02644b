"""A defs.yaml that is broken while its jobs run: nobody stops them, and they are collected once it is corrected."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.components.batch import BatchComponent, BatchInference
from bedrock_assets.components.broken import Broken
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.resources.job_events import EventsResource
from tests.labs.dispatch import Lab, open_lab


def sensor_of(*pipelines: dict[str, Any]) -> dg.SensorDefinition:
    """The dispatcher of a code location with these attributes in one defs.yaml each."""
    with create_defs_folder_sandbox() as sandbox:
        for i, attributes in enumerate(pipelines):
            path = sandbox.defs_folder_path / f"p{i}" / "defs.yaml"
            path.parent.mkdir()
            path.write_text(yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": attributes}))
        with sandbox.build_all_defs() as defs:
            dg.Definitions.validate_loadable(defs)
            return next(sensor for sensor in defs.sensors or () if sensor.name == "bedrock_jobs_sensor")


def evaluate(lab: Lab, sensor: dg.SensorDefinition) -> dg.SensorResult:
    """One tick of the sensor."""
    resources = {
        "bedrock_batch_store": lab.store_resource,
        "bedrock_batch": lab.bedrock_resource,
        "bedrock_batch_events": EventsResource(),
    }
    result = sensor(dg.build_sensor_context(lab.instance, resources=resources))
    assert isinstance(result, dg.SensorResult)
    return result


def test_jobs_of_a_broken_pipeline_go_on(tmp_path: Path) -> None:
    """Ticks of the others neither stop its job nor close its requests; corrected, each shard is paid for once."""
    attributes = {
        "name": "calls",
        "source": {"path": str(tmp_path / "calls.parquet"), "id_column": "id"},
        "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "task": {"text": {"prompt": "Summarise: {transcript}", "max_tokens": 64}},
        "limits": {"max_records_per_job": 10, "min_records_per_job": 2, "max_jobs": 1},
        "preflight": False,
    }
    other = {**attributes, "name": "other"}
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        before = [(job.name, job.status) for job in lab.jobs()]
        assert sorted(lab.states.values()) == [RequestState.REQUESTED, RequestState.SUBMITTED]
        broken = sensor_of({**attributes, "modell": "x"}, other)
        for _ in range(2):
            evaluate(lab, broken)
        assert [(job.name, job.status) for job in lab.jobs()] == before
        assert sorted(lab.states.values()) == [RequestState.REQUESTED, RequestState.SUBMITTED]
        assert [job.status for job in lab.wait_for_jobs()] == [JobStatus.COMPLETED]
        assert len(evaluate(lab, sensor_of(attributes, other)).run_requests or ()) == 1
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 2


def test_components_of_one_class() -> None:
    """What stands in for a broken file is a component like the others, so that all of a location can be asked for."""
    with create_defs_folder_sandbox() as sandbox:
        contents = {"type": "bedrock_assets.BatchInference", "attributes": {"name": "calls"}}
        sandbox.scaffold_component(component_cls=BatchInference, defs_path="calls", defs_yaml_contents=contents)
        with sandbox.load_component_and_build_defs(sandbox.defs_folder_path / "calls") as (component, defs):
            assert isinstance(component, BatchComponent)
            assert isinstance(component.member, Broken)
            assert "attributes.model: Field required" in str(component.member.error)
            assert {key.path[0] for key in defs.resolve_asset_graph().get_all_asset_keys()} == {"calls"}
