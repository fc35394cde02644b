"""The resources as the environment describes them."""

import os

from bedrock_assets.config.job_settings import JobSettings, Vpc, parse_list, parse_tags
from bedrock_assets.errors import ConfigError
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.job_events import EventsResource
from bedrock_assets.resources.regions import REGIONS_FILE, read_regions
from bedrock_assets.resources.store import StoreResource, store_resource

LOCAL_ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"
EVENTS_QUEUE = "BEDROCK_ASSETS_EVENTS_QUEUE_URL"
CLOUDWATCH = "BEDROCK_ASSETS_CLOUDWATCH"


def resources() -> dict[str, StoreResource | BedrockResource | EventsResource]:
    """
    The resources of assets, checks and sensors, by their keys, from the environment.

    Raises:
        ConfigError: The value of a setting is wrong.
    """
    events = EventsResource(queue_url=os.environ.get(EVENTS_QUEUE), region_name=os.environ.get("AWS_REGION"))
    return {
        "bedrock_batch_store": store_resource(),
        "bedrock_batch": bedrock_resource(),
        "bedrock_batch_events": events,
    }


def bedrock_resource() -> BedrockResource:
    """
    Bedrock, from the environment.

    Raises:
        ConfigError: The value of a setting is wrong.
    """
    env = os.environ
    bedrock = BedrockResource(
        role_arn=env.get("BEDROCK_ASSETS_ROLE_ARN", LOCAL_ROLE),
        region_name=env.get("AWS_REGION"),
        assume_role_arn=env.get("BEDROCK_ASSETS_ASSUME_ROLE_ARN") or None,
        regions=read_regions(env.get(REGIONS_FILE)),
        vpc_subnet_ids=parse_list(env.get("BEDROCK_ASSETS_SUBNET_IDS", "")),
        vpc_security_group_ids=parse_list(env.get("BEDROCK_ASSETS_SECURITY_GROUP_IDS", "")),
        tags=parse_tags(env.get("BEDROCK_ASSETS_TAGS", "")),
        cloudwatch=_is_on(CLOUDWATCH),
    )
    JobSettings(vpc=Vpc.of(bedrock.vpc_subnet_ids, bedrock.vpc_security_group_ids), tags=bedrock.tags)
    return bedrock


def _is_on(setting: str) -> bool:
    """
    Raises:
        ConfigError: The setting is neither on nor off.
    """
    value = os.environ.get(setting, "").strip().lower()
    if value not in ("", "0", "1", "false", "true"):
        raise ConfigError(f"{setting} is {value!r}; set it to true or false")
    return value in ("1", "true")
