"""
A run worker: executes one run that the sensor asked for, in a process of its own, as a run launcher's workers do.

`python -m tests.labs.run_worker FOLDER ENDPOINT SHARD TAGS`, TAGS being JSON. It says `ready`, waits for a line on its
standard input, so that several begin at once, and prints as JSON what it wrote to the store.
"""

import json
import sys
from pathlib import Path

import dagster as dg

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.store import StoreResource
from tests.labs.dispatch import ROLE, pipeline_of

_CHANGES = ("bedrock_assets.write", "bedrock_assets.move", "bedrock_assets.delete")


def main(folder: Path, endpoint_url: str, shard: str, tags: dict[str, str]) -> None:
    """Execute the run of one shard."""
    changed: list[str] = []
    sys.addaudithook(lambda name, args: changed.append(str(args[1])) if name in _CHANGES else None)
    aws = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
    bedrock = BedrockResource(role_arn=ROLE, endpoint_url=endpoint_url, runtime_endpoint_url=endpoint_url, **aws)
    resources = {"bedrock_batch_store": StoreResource(url=str(folder / "s3" / "bucket")), "bedrock_batch": bedrock}
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        print("ready", flush=True)
        sys.stdin.readline()
        result = dg.materialize(
            build_assets(pipeline_of(folder)),
            selection=[dg.AssetKey(["calls", "batch_outputs"])],
            partition_key=shard,
            instance=instance,
            resources=resources,
            tags=tags,
            raise_on_error=False,
        )
    print(json.dumps({"success": result.success, "changed": sorted(set(changed))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
