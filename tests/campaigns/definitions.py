"""The code location of the campaigns: pipelines as a YAML file has them that a person edits."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.environment import resources
from bedrock_assets.sensors.jobs import build_schedules, build_sensors

RECORDS_PER_SHARD = 10
SENSOR_INTERVAL_S = 4
SETTINGS = "pipelines.yaml"


def spec_of(name: str, folder: Path) -> dict[str, Any]:
    """A pipeline's settings, before anybody edits them."""
    return {
        "name": name,
        "source": {"path": str(folder / f"{name}.parquet"), "id_column": "id"},
        "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "task": {"text": {"prompt": "Summarise: {text}", "max_tokens": 64}},
        "limits": {"max_records_per_job": RECORDS_PER_SHARD, "min_records_per_job": 5, "max_jobs": 1},
    }


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks and sensors of all pipelines of the file."""
    folder = Path(os.environ["CAMPAIGN_FOLDER"])
    specs = yaml.safe_load((folder / SETTINGS).read_text("utf-8"))
    pipelines = [Pipeline(PipelineSpec.model_validate(spec), folder) for spec in specs]
    return dg.Definitions(
        assets=[asset for pipeline in pipelines for asset in build_assets(pipeline)],
        asset_checks=[check for pipeline in pipelines for check in build_checks(pipeline)],
        sensors=build_sensors(pipelines, SENSOR_INTERVAL_S),
        schedules=build_schedules(pipelines),
        resources=resources(),
        executor=dg.in_process_executor,
    )
