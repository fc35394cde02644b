"""The code location: every folder under `defs/`, and the resources they share."""

import os
import warnings
from pathlib import Path

import dagster as dg

from bedrock_assets.resources import BedrockResource, StoreResource

LOCAL_STORE = "bedrock-assets-dev/s3/bedrock-assets"
LOCAL_ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"

# Dagster 1.13 warns of its own use of a beta parameter wherever a component brings asset checks. It loads components
# with the filters set aside, so that only one set here, before, is kept.
warnings.filterwarnings("ignore", message="Parameter `execution_type`", category=dg.BetaWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """Settings come from the environment; see the README for each."""
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(resources=resources(), executor=dg.in_process_executor),
    )


def resources() -> dict[str, StoreResource | BedrockResource]:
    """`store` and `bedrock`, from the environment."""
    env = os.environ
    return {
        "store": StoreResource(
            url=env.get("BEDROCK_ASSETS_STORE", LOCAL_STORE),
            region_name=env.get("AWS_REGION"),
            endpoint_url=env.get("AWS_ENDPOINT_URL_S3"),
        ),
        "bedrock": BedrockResource(
            role_arn=env.get("BEDROCK_ASSETS_ROLE_ARN", LOCAL_ROLE), region_name=env.get("AWS_REGION")
        ),
    }
