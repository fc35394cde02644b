"""The Dagster resource for the store."""

from functools import partial

import dagster as dg
from pydantic import Field

from bedrock_assets.storage.credentials import open_session
from bedrock_assets.storage.store import Store


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
