"""The Dagster resource for the store, and the one that the environment names."""

import os
from functools import partial

import dagster as dg
from pydantic import Field

from bedrock_assets.config.job_settings import JobSettings
from bedrock_assets.storage.credentials import open_session
from bedrock_assets.storage.store import Store

STORE = "BEDROCK_ASSETS_STORE"
LOCAL_STORE = "bedrock-assets-dev/s3/bedrock-assets"
"""Store of a local stack, below the folder in which it was started."""


class StoreResource(dg.ConfigurableResource[Store]):
    """The store that all stages read and write."""

    url: str = Field(description="A local folder (for the emulator), or `s3://bucket/prefix`.")
    region_name: str | None = Field(default=None, description="AWS Region of the bucket.")
    endpoint_url: str | None = Field(default=None, description="S3 endpoint other than AWS's own.")
    profile_name: str | None = Field(
        default=None, description="Profile of the AWS credentials, other than AWS_PROFILE."
    )
    kms_key_arn: str | None = Field(
        default=None, description="KMS key under which files are written, by us and by Bedrock."
    )
    bucket_owner: str | None = Field(default=None, description="Account that the bucket has to belong to, 12 digits.")

    def open(self) -> Store:
        """The store; nothing is read or created yet."""
        return Store(
            self.url,
            self.region_name,
            self.endpoint_url,
            self.kms_key_arn,
            self.bucket_owner,
            partial(open_session, self.profile_name),
        )


def store_resource(url: str | None = None) -> StoreResource:
    """
    The store, from the environment.

    Args:
        url: Of another store; the settings for its access are the environment's.

    Raises:
        ConfigError: The KMS key is not a key's ARN, or the bucket's owner not an account id.
    """
    env = os.environ
    resource = StoreResource(
        url=url or env.get(STORE, LOCAL_STORE),
        region_name=env.get("AWS_REGION"),
        endpoint_url=env.get("AWS_ENDPOINT_URL_S3"),
        kms_key_arn=env.get("BEDROCK_ASSETS_KMS_KEY_ARN") or None,
        bucket_owner=env.get("BEDROCK_ASSETS_BUCKET_OWNER") or None,
    )
    JobSettings(resource.kms_key_arn, resource.bucket_owner)
    return resource
