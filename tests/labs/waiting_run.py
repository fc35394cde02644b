"""
A run of all shards that waits until they are done, in a process of its own, as a person launches it.

`python -m tests.labs.waiting_run FOLDER ENDPOINT TAGS SETTINGS`: its tags and Bedrock's settings, as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.store import StoreResource
from tests.labs.dispatch import ROLE, pipeline_of


def main(folder: Path, endpoint_url: str, tags: dict[str, str], settings: dict[str, Any]) -> bool:
    """Execute the run; whether it succeeded."""
    aws = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
    bedrock = BedrockResource(role_arn=ROLE, endpoint_url=endpoint_url, **aws, **settings)
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        return dg.materialize(
            build_assets(pipeline_of(folder)),
            selection=[dg.AssetKey(["calls", "batch_outputs"])],
            instance=instance,
            resources={
                "bedrock_batch_store": StoreResource(url=str(folder / "s3" / "bucket")),
                "bedrock_batch": bedrock,
            },
            tags=tags,
            run_config={"ops": {"calls__batch_outputs": {"config": {"poll_s": 0.2}}}},
            raise_on_error=False,
        ).success


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])))
