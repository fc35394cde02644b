"""One code location of several: the pipeline that the environment names, of those of the soak test."""

import os
from pathlib import Path

import dagster as dg

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.resources.environment import resources
from bedrock_assets.sensors.jobs import build_sensors
from tests.soak.definitions import SENSOR_INTERVAL_S, pipelines


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks and sensors of the pipeline, as the code location of a deployment has them."""
    folder, name = Path(os.environ["SOAK_FOLDER"]), os.environ["LOCATION_PIPELINE"]
    (pipeline,) = [pipeline for pipeline in pipelines(folder) if pipeline.spec.name == name]
    return dg.Definitions(
        assets=build_assets(pipeline),
        asset_checks=build_checks(pipeline),
        sensors=build_sensors([pipeline], SENSOR_INTERVAL_S),
        resources=resources(),
        executor=dg.in_process_executor,
    )
