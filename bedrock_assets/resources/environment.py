"""
The resources as the environment describes them.

Those of a code location read the environment when they are opened: in the run or the sensor's tick, and not while
definitions are built. Dagster's own `EnvVar` is of no use for it, because it has no default.
"""

import os
from typing import Any

from pydantic import Field
from typing_extensions import override

from bedrock_assets.aws.cloudwatch import CloudWatch
from bedrock_assets.aws.job_events import EventQueue
from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.config.job_settings import JobSettings, Vpc, parse_list, parse_tags
from bedrock_assets.errors import ConfigError
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.job_events import EventsResource
from bedrock_assets.resources.regions import REGIONS_FILE, read_regions
from bedrock_assets.resources.store import StoreResource, store_resource
from bedrock_assets.storage.store import Store

LOCAL_ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"
EVENTS_QUEUE = "BEDROCK_ASSETS_EVENTS_QUEUE_URL"
CLOUDWATCH = "BEDROCK_ASSETS_CLOUDWATCH"


class EnvironmentStore(StoreResource):
    """The store that the environment names."""

    url: str = Field(default="", description="Not used: `BEDROCK_ASSETS_STORE` names the store.")

    @override
    def open(self) -> Store:
        return store_resource().open()


class EnvironmentBedrock(BedrockResource):
    """Bedrock as the environment configures it."""

    role_arn: str = Field(default="", description="Not used: `BEDROCK_ASSETS_ROLE_ARN` names the role.")

    @override
    def open(self, store: Store, *, local: bool = False) -> Regions:
        return bedrock_resource().open(store, local=local)

    @override
    def session(self, region: Region | None = None) -> Any:
        return bedrock_resource().session(region)

    @override
    def open_runtime(self, region: Region | None = None, *, brief: bool = False) -> Runtime:
        return bedrock_resource().open_runtime(region, brief=brief)

    @override
    def open_cloudwatch(self, region: Region | None = None) -> CloudWatch | None:
        return bedrock_resource().open_cloudwatch(region)


class EnvironmentEvents(EventsResource):
    """The queue of events that the environment names."""

    @override
    def open(self) -> EventQueue | None:
        return EventsResource(queue_url=os.environ.get(EVENTS_QUEUE), region_name=os.environ.get("AWS_REGION")).open()


def resources() -> dict[str, StoreResource | BedrockResource | EventsResource]:
    """The resources of assets, checks and sensors, by their keys; nothing is read before one is opened."""
    return {
        "bedrock_batch_store": EnvironmentStore(),
        "bedrock_batch": EnvironmentBedrock(),
        "bedrock_batch_events": EnvironmentEvents(),
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
