"""The code location of the soak test: two pipelines that share a pool, over files that the test has written."""

import os
from pathlib import Path
from typing import Any

import dagster as dg

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.environment import resources
from bedrock_assets.sensors.jobs import build_sensors

SENSOR_INTERVAL_S = 4
RECORDS_PER_SHARD = 20
LIMITS = {"max_records_per_job": RECORDS_PER_SHARD, "min_records_per_job": 5, "max_jobs": 1}
"""The pool's limit holds, so `max_jobs` has no say but in planning: as few shards as the rows need."""
SPECS: dict[str, dict[str, Any]] = {
    "soak_text": {
        "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "task": {"text": {"prompt": "Summarise: {text}", "max_tokens": 64}},
    },
    "soak_vectors": {
        "model": "amazon.titan-embed-text-v2:0",
        "task": {"embedding": {"column": "text", "dimensions": 256}},
    },
}


def pipelines(folder: Path) -> list[Pipeline]:
    """Both, over `<name>.parquet` in *folder*."""
    common = {"limits": LIMITS, "max_attempts": 9}
    settings = [
        {"name": name, "source": {"path": str(folder / f"{name}.parquet"), "id_column": "id"}, **common, **spec}
        for name, spec in SPECS.items()
    ]
    return [Pipeline(PipelineSpec.model_validate(each), folder) for each in settings]


def source_of(pipeline: str, n_shards: int) -> list[dict[str, str]]:
    """The rows of a pipeline's input."""
    return [
        {"id": f"{pipeline}-{i}", "text": f"Call {i} to {pipeline} was about invoice {i}. It was found."}
        for i in range(n_shards * RECORDS_PER_SHARD)
    ]


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks and sensors of both."""
    found = pipelines(Path(os.environ["SOAK_FOLDER"]))
    return dg.Definitions(
        assets=[asset for pipeline in found for asset in build_assets(pipeline)],
        asset_checks=[check for pipeline in found for check in build_checks(pipeline)],
        sensors=build_sensors(found, SENSOR_INTERVAL_S),
        resources=resources(),
        executor=dg.in_process_executor,
    )
