"""Dagster resources: where the data is, and which Bedrock answers."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster_aws.utils import ResourceWithBoto3Configuration
from pydantic import Field, TypeAdapter, ValidationError

from bedrock_assets.assuming import assumed
from bedrock_assets.bedrock import Bedrock
from bedrock_assets.errors import ConfigError
from bedrock_assets.events import EventQueue
from bedrock_assets.places import Place, Places, account_of
from bedrock_assets.runtime import Runtime
from bedrock_assets.store import Store

LOCAL_STORE = "bedrock-assets-dev/s3/bedrock-assets"
LOCAL_ROLE = "arn:aws:iam::123456789012:role/bedrock-assets"
PLACES = "BEDROCK_ASSETS_PLACES"
EVENTS_QUEUE = "BEDROCK_ASSETS_EVENTS_QUEUE_URL"
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


class PlaceConfig(dg.Config):
    """A Region of an account where jobs run beside the deployment's own, and the bucket that Bedrock reads there."""

    region_name: str | None = Field(default=None, description="AWS Region; without it the deployment's own.")
    role_arn: str | None = Field(
        default=None, description="Service role of that account; without it the deployment's own."
    )
    assume_role_arn: str | None = Field(
        default=None, description="Role of that account that calls are made as, where it is another account."
    )
    external_id: str | None = Field(default=None, description="External id that the role's trust asks for.")
    store_url: str | None = Field(
        default=None, description="`s3://bucket/prefix` there; without it the deployment's own store."
    )
    endpoint_url: str | None = Field(default=None, description="Bedrock's endpoint other than AWS's own.")
    runtime_endpoint_url: str | None = Field(default=None, description="Endpoint of its runtime.")


class BedrockResource(ResourceWithBoto3Configuration):
    """
    Bedrock, configured like every resource of dagster-aws.

    Without `endpoint_url` and `runtime_endpoint_url` boto3's own settings hold, so `AWS_ENDPOINT_URL_BEDROCK` and
    `AWS_ENDPOINT_URL_BEDROCK_RUNTIME` point it at the emulator.
    """

    role_arn: str = Field(description="Service role that Bedrock takes on to read prompts and write outputs.")
    assume_role_arn: str | None = Field(
        default=None, description="Role that calls are made as, where jobs run in another account."
    )
    runtime_endpoint_url: str | None = Field(
        default=None, description="Endpoint of Bedrock's runtime (InvokeModel, Converse) other than AWS's own."
    )
    places: list[PlaceConfig] = Field(default=[], description="Other Regions and accounts that pipelines may name.")

    def open(self, store: Store, *, local: bool = False) -> Places:
        """
        The control plane, where jobs are.

        Args:
            local: Whether a local store will do, because no job is created.

        Raises:
            ConfigError: The store is a local folder, which AWS could not read; or no Region is set.
        """
        home = self._bedrock(self._own)
        if not local and store.is_local and "amazonaws." in home.client.meta.endpoint_url:
            raise ConfigError(
                f"the store is the local folder {store.root}, which Amazon Bedrock cannot read; set "
                "BEDROCK_ASSETS_STORE=s3://bucket/prefix, or work locally with `bedrock-assets dev`"
            )
        own = Places.only(home, store)
        return Places(store, (*own.all, *(self._place(place, own.home, store) for place in self.places)))

    def session(self, place: Place | None = None) -> Any:
        """The boto3 session of a place, or of the deployment's own."""
        return self._session(self._config(place))

    def open_runtime(self, place: Place | None = None) -> Runtime:
        """The runtime, where models answer on demand, of a place or the deployment's own."""
        config = self._config(place)
        client = self._client("bedrock-runtime", config, config.runtime_endpoint_url, read_timeout=READ_TIMEOUT_S)
        return Runtime(client)

    @property
    def _own(self) -> PlaceConfig:
        return PlaceConfig(
            region_name=self.region_name,
            role_arn=self.role_arn,
            assume_role_arn=self.assume_role_arn,
            endpoint_url=self.endpoint_url,
            runtime_endpoint_url=self.runtime_endpoint_url,
        )

    def _place(self, config: PlaceConfig, home: Place, store: Store) -> Place:
        region, account = config.region_name or home.region, account_of(config.role_arn or self.role_arn)
        there = replace(store, url=config.store_url, region=region) if config.store_url else None
        return Place(region, account, partial(self._bedrock, config), there)

    def _config(self, place: Place | None) -> PlaceConfig:
        """The settings of a place that was made of them."""
        at = {(c.region_name or self.region_name, account_of(c.role_arn or self.role_arn)): c for c in self.places}
        return at.get((place.region, place.account), self._own) if place else self._own

    def _bedrock(self, config: PlaceConfig) -> Bedrock:
        return Bedrock(self._client("bedrock", config, config.endpoint_url), config.role_arn or self.role_arn)

    def _client(self, service: str, config: PlaceConfig, endpoint_url: str | None, **options: Any) -> Any:
        from botocore.config import Config
        from botocore.exceptions import NoRegionError, ProfileNotFound

        try:
            return self._session(config).client(
                service,
                endpoint_url=endpoint_url,
                use_ssl=self.use_ssl,
                verify=self.verify,
                config=Config(retries={"mode": "adaptive", "max_attempts": self.max_attempts}, **options),
            )
        except (NoRegionError, ProfileNotFound) as error:
            raise ConfigError(f"{error} Set AWS_REGION, and AWS_PROFILE if you use profiles") from error

    def _session(self, config: PlaceConfig) -> Any:
        import boto3

        own: Any = boto3.Session(
            profile_name=self.profile_name,
            region_name=config.region_name or self.region_name,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            aws_session_token=self.aws_session_token,
        )
        return assumed(own, config.assume_role_arn, config.external_id) if config.assume_role_arn else own


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
    """Bedrock, from the environment."""
    return BedrockResource(
        role_arn=os.environ.get("BEDROCK_ASSETS_ROLE_ARN", LOCAL_ROLE),
        region_name=os.environ.get("AWS_REGION"),
        assume_role_arn=os.environ.get("BEDROCK_ASSETS_ASSUME_ROLE_ARN"),
        places=read_places(os.environ.get(PLACES)),
    )


def read_places(path: str | None) -> list[PlaceConfig]:
    """
    The other Regions and accounts of a deployment, from a YAML file with a list of them.

    Raises:
        ConfigError: It cannot be read, or an entry is wrong.
    """
    if not path:
        return []
    try:
        found = TypeAdapter(list[dict[str, str]]).validate_python(yaml.safe_load(Path(path).read_text("utf-8")))
        unknown = sorted({key for entry in found for key in entry} - {*PlaceConfig.model_fields})
        if unknown:
            raise ConfigError(
                f"{PLACES}={path}: unknown key {unknown[0]!r}; known: {', '.join(PlaceConfig.model_fields)}"
            )
        return [PlaceConfig(**entry) for entry in found]
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{PLACES}={path}: {error}") from error


def store_resource() -> StoreResource:
    """The store, from the environment."""
    env = os.environ
    return StoreResource(
        url=env.get("BEDROCK_ASSETS_STORE", LOCAL_STORE),
        region_name=env.get("AWS_REGION"),
        endpoint_url=env.get("AWS_ENDPOINT_URL_S3"),
    )
