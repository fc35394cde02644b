"""Dagster resources: where the data is, and which Bedrock answers."""

import os
from typing import Any

import dagster as dg
from dagster_aws.utils import ResourceWithBoto3Configuration
from pydantic import Field

from bedrock_assets.bedrock import Bedrock
from bedrock_assets.cloudwatch import CloudWatch
from bedrock_assets.errors import ConfigError
from bedrock_assets.events import EventQueue
from bedrock_assets.runtime import Runtime
from bedrock_assets.store import Store

LOCAL_STORE = "bedrock-assets-dev/s3/bedrock-assets"
LOCAL_ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"
EVENTS_QUEUE = "BEDROCK_ASSETS_EVENTS_QUEUE_URL"
CLOUDWATCH = "BEDROCK_ASSETS_CLOUDWATCH"
READ_TIMEOUT_S = 300
"""A long answer takes minutes; botocore gives up after one."""


class StoreResource(dg.ConfigurableResource[Store]):
    """The store that all stages read and write."""

    url: str = Field(description="A local folder (for the emulator), or `s3://bucket/prefix`.")
    region_name: str | None = Field(default=None, description="AWS Region of the bucket.")
    endpoint_url: str | None = Field(default=None, description="S3 endpoint other than AWS's own.")

    def open(self) -> Store:
        """The store; nothing is read or created yet."""
        return Store(self.url, self.region_name, self.endpoint_url)


class BedrockResource(ResourceWithBoto3Configuration):
    """
    Bedrock, configured like every resource of dagster-aws.

    Without `endpoint_url` and `runtime_endpoint_url` boto3's own settings hold, so `AWS_ENDPOINT_URL_BEDROCK` and
    `AWS_ENDPOINT_URL_BEDROCK_RUNTIME` point it at the emulator.
    """

    role_arn: str = Field(description="Service role that Bedrock takes on to read prompts and write outputs.")
    runtime_endpoint_url: str | None = Field(
        default=None, description="Endpoint of Bedrock's runtime (InvokeModel, Converse) other than AWS's own."
    )
    cloudwatch: bool = Field(
        default=False, description="Read the metrics of batch jobs from CloudWatch, which bills each that is read."
    )
    cloudwatch_interval_s: float = Field(
        default=300, gt=0, description="Seconds between two readings of CloudWatch by a run that waits."
    )

    def open(self, store: Store, *, local: bool = False) -> Bedrock:
        """
        The control plane, where jobs are.

        Args:
            local: Whether a local store will do, because no job is created.

        Raises:
            ConfigError: The store is a local folder, which AWS could not read; or no Region is set.
        """
        client = self._client("bedrock", self.endpoint_url)
        if not local and store.is_local and "amazonaws." in client.meta.endpoint_url:
            raise ConfigError(
                f"the store is the local folder {store.root}, which Amazon Bedrock cannot read; set "
                "BEDROCK_ASSETS_STORE=s3://bucket/prefix, or work locally with `bedrock-assets dev`"
            )
        return Bedrock(client, self.role_arn)

    def open_runtime(self) -> Runtime:
        """The runtime, where models answer on demand."""
        return Runtime(self._client("bedrock-runtime", self.runtime_endpoint_url, read_timeout=READ_TIMEOUT_S))

    def open_cloudwatch(self) -> CloudWatch | None:
        """CloudWatch, where Bedrock's metrics are; None unless it is to be read."""
        # Nobody waits for it: one that is away is asked again later.
        quick: dict[str, Any] = {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 1}}
        return CloudWatch(self._client("cloudwatch", None, **quick)) if self.cloudwatch else None

    def _client(self, service: str, endpoint_url: str | None, **config: Any) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import NoRegionError, ProfileNotFound

        retries: Any = config.pop("retries", {"mode": "adaptive", "max_attempts": self.max_attempts})
        try:
            session: Any = boto3.Session(profile_name=self.profile_name, region_name=self.region_name)
            return session.client(
                service,
                endpoint_url=endpoint_url,
                use_ssl=self.use_ssl,
                verify=self.verify,
                aws_access_key_id=self.aws_access_key_id,
                aws_secret_access_key=self.aws_secret_access_key,
                aws_session_token=self.aws_session_token,
                config=Config(retries=retries, **config),
            )
        except (NoRegionError, ProfileNotFound) as error:
            raise ConfigError(f"{error} Set AWS_REGION, and AWS_PROFILE if you use profiles") from error


class EventsResource(dg.ConfigurableResource[Any]):
    """The queue of events that wakes the sensor early; without its URL there is none."""

    queue_url: str | None = Field(default=None, description="URL of the SQS queue that EventBridge sends events to.")
    region_name: str | None = Field(default=None, description="AWS Region of the queue.")
    endpoint_url: str | None = Field(default=None, description="SQS endpoint other than AWS's own.")

    def open(self) -> EventQueue | None:
        """The queue; nothing is read yet."""
        if not self.queue_url:
            return None
        import boto3
        from botocore.config import Config

        # Nobody waits for it: a queue that is away is asked again at the next look.
        config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
        session: Any = boto3.Session(region_name=self.region_name)
        return EventQueue(session.client("sqs", endpoint_url=self.endpoint_url, config=config), self.queue_url)


def resources() -> dict[str, StoreResource | BedrockResource | EventsResource]:
    """`store`, `bedrock` and `events`, from the environment."""
    events = EventsResource(queue_url=os.environ.get(EVENTS_QUEUE), region_name=os.environ.get("AWS_REGION"))
    return {"store": store_resource(), "bedrock": bedrock_resource(), "events": events}


def bedrock_resource() -> BedrockResource:
    """
    Bedrock, from the environment.

    Raises:
        ConfigError: A setting has a value that it cannot have.
    """
    role_arn, region = os.environ.get("BEDROCK_ASSETS_ROLE_ARN", LOCAL_ROLE), os.environ.get("AWS_REGION")
    return BedrockResource(role_arn=role_arn, region_name=region, cloudwatch=_is_on(CLOUDWATCH))


def store_resource() -> StoreResource:
    """The store, from the environment."""
    env = os.environ
    return StoreResource(
        url=env.get("BEDROCK_ASSETS_STORE", LOCAL_STORE),
        region_name=env.get("AWS_REGION"),
        endpoint_url=env.get("AWS_ENDPOINT_URL_S3"),
    )


def _is_on(setting: str) -> bool:
    """
    Raises:
        ConfigError: The setting is neither on nor off.
    """
    value = os.environ.get(setting, "").strip().lower()
    if value not in ("", "0", "1", "false", "true"):
        raise ConfigError(f"{setting} is {value!r}; set it to true or false")
    return value in ("1", "true")
