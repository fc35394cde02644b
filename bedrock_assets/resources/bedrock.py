"""Dagster resources: where the data is, and which Bedrock answers."""

from functools import partial
from typing import Any

from pydantic import Field

from bedrock_assets.aws.assume_role import assumed
from bedrock_assets.aws.cloudwatch import CloudWatch
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.regions import Region, Regions, account_of
from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.aws.sessions import open_session
from bedrock_assets.errors import ConfigError
from bedrock_assets.resources.boto3_settings import Boto3Resource
from bedrock_assets.resources.regions import RegionConfig
from bedrock_assets.storage.store import Store

READ_TIMEOUT_S = 300
"""A long answer takes minutes; botocore gives up after one."""
BRIEF = {
    "connect_timeout": 5,
    "read_timeout": READ_TIMEOUT_S,
    "retries": {"mode": "standard", "total_max_attempts": 2},
}
"""Of calls that work goes on without: throttled or out of reach, they give up after some seconds. A long answer is
waited for, as a call that is repeated is paid again."""


class BedrockResource(Boto3Resource):
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
    vpc_subnet_ids: list[str] = Field(default=[], description="Subnets through which jobs reach the bucket.")
    vpc_security_group_ids: list[str] = Field(default=[], description="Security groups of the jobs in these subnets.")
    tags: dict[str, str] = Field(default={}, description="Tags of all jobs.")
    cloudwatch: bool = Field(
        default=False, description="Read the metrics of batch jobs from CloudWatch, which bills each that is read."
    )
    cloudwatch_interval_s: float = Field(
        default=300, gt=0, description="Seconds between two readings of CloudWatch by a run that waits."
    )
    regions: list[RegionConfig] = Field(default=[], description="Other Regions and accounts that pipelines may name.")

    def open(self, store: Store, *, local: bool = False) -> Regions:
        """
        The control plane, where jobs are.

        Args:
            local: Whether a local store will do, because no job is created.

        Raises:
            ConfigError: The store is a local folder, which AWS could not read; or no Region is set; or a setting of
                jobs is none that Bedrock takes.
        """
        home = self._bedrock(self._own, store)
        if not local and store.is_local and "amazonaws." in home.client.meta.endpoint_url:
            raise ConfigError(
                f"the store is the local folder {store.root}, which Amazon Bedrock cannot read; set "
                "BEDROCK_ASSETS_STORE=s3://bucket/prefix, or work locally with `bedrock-assets dev`"
            )
        own = Regions.only(home, store)
        return Regions(store, (*own.all, *(self._region(region, own.home, store) for region in self.regions)))

    def session(self, region: Region | None = None) -> Any:
        """The boto3 session for a Region; by default for the deployment's own."""
        return self._session(self._config(region))

    def open_runtime(self, region: Region | None = None, *, brief: bool = False) -> Runtime:
        """
        Bedrock's runtime, where models answer on demand.

        Args:
            region: By default the deployment's own.
            brief: Whether calls give up soon, because work goes on without their answers.
        """
        config = self._config(region)
        options: dict[str, Any] = BRIEF if brief else {"read_timeout": READ_TIMEOUT_S}
        return Runtime(self._client("bedrock-runtime", config, config.runtime_endpoint_url, **options))

    def open_cloudwatch(self, region: Region | None = None) -> CloudWatch | None:
        """CloudWatch, which has Bedrock's metrics; None if the deployment does not read it."""
        # Metrics are optional, so calls fail fast; a later tick tries again.
        quick: dict[str, Any] = {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 1}}
        return CloudWatch(self._client("cloudwatch", self._config(region), None, **quick)) if self.cloudwatch else None

    @property
    def _own(self) -> RegionConfig:
        return RegionConfig(
            region_name=self.region_name,
            role_arn=self.role_arn,
            assume_role_arn=self.assume_role_arn,
            vpc_subnet_ids=self.vpc_subnet_ids,
            vpc_security_group_ids=self.vpc_security_group_ids,
            endpoint_url=self.endpoint_url,
            runtime_endpoint_url=self.runtime_endpoint_url,
        )

    def _region(self, config: RegionConfig, home: Region, store: Store) -> Region:
        region, account = config.region_name or home.name, account_of(config.role_arn or self.role_arn)
        bucket = self._store(config, store, region) if config.store_url else None
        return Region(region, account, partial(self._bedrock, config, bucket or store), bucket)

    def _store(self, config: RegionConfig, store: Store, region: str) -> Store:
        """The bucket of a Region, with the credentials of its role if it is in another account."""
        session = partial(self._session, config) if config.assume_role_arn else store.open_session
        key, owner = config.kms_key_arn, config.bucket_owner
        return Store(config.store_url or store.url, region, store.endpoint_url, key, owner, session)

    def _config(self, region: Region | None) -> RegionConfig:
        """The settings from which a Region was opened."""
        if region is None:
            return self._own
        for config in self.regions:
            account = account_of(config.role_arn or self.role_arn)
            if (config.region_name or self.region_name, account) == (region.name, region.account):
                return config
        return self._own

    def _bedrock(self, config: RegionConfig, store: Store) -> Bedrock:
        key, owner = store.kms_key_arn, store.bucket_owner
        settings = config.model_copy(update={"kms_key_arn": key, "bucket_owner": owner}).job_settings(self.tags)
        client = self._client("bedrock", config, config.endpoint_url)
        return Bedrock(client, config.role_arn or self.role_arn, settings)

    def _client(self, service: str, config: RegionConfig, endpoint_url: str | None, **options: Any) -> Any:
        from botocore.config import Config
        from botocore.exceptions import NoRegionError, ProfileNotFound

        retries: Any = {"mode": "adaptive", "max_attempts": self.max_attempts}
        try:
            return self._session(config).client(
                service,
                endpoint_url=endpoint_url,
                use_ssl=self.use_ssl,
                verify=self.verify,
                config=Config(**{"retries": retries, **options}),
            )
        except (NoRegionError, ProfileNotFound) as error:
            raise ConfigError(f"{error} Set AWS_REGION, and AWS_PROFILE if you use profiles") from error
        except ValueError as error:  # of a variable that is set and empty, or has a space
            raise ConfigError(f"{error}; correct AWS_REGION, or the endpoint's URL") from error

    def _session(self, config: RegionConfig) -> Any:
        own: Any = open_session(
            profile_name=self.profile_name,
            region_name=config.region_name or self.region_name,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            aws_session_token=self.aws_session_token,
        )
        return assumed(own, config.assume_role_arn, config.external_id) if config.assume_role_arn else own
