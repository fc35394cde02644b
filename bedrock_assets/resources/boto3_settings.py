"""The settings of every resource of dagster-aws, by the same names."""

from typing import Any

from dagster import ConfigurableResource
from pydantic import Field


class Boto3Resource(ConfigurableResource[Any]):
    """
    As `dagster_aws.utils.ResourceWithBoto3Configuration`, which costs a second of every start: importing anything of
    dagster-aws loads all its resources, and through them Dagster's storage, SQLAlchemy and Alembic.

    Source: dagster-aws 0.29; a test compares the two.
    """

    region_name: str | None = Field(default=None, description="Specifies a custom region for the Boto3 session")
    max_attempts: int = Field(
        default=5,
        description=(
            "This provides Boto3's retry handler with a value of maximum retry attempts, where the initial call counts "
            "toward the max_attempts value that you provide"
        ),
    )
    profile_name: str | None = Field(default=None, description="Specifies a profile to connect that session")
    use_ssl: bool = Field(default=True, description="Whether or not to use SSL. By default, SSL is used.")
    endpoint_url: str | None = Field(default=None, description="Specifies a custom endpoint for the Boto3 session.")
    verify: bool | None = Field(
        default=True,
        description="Whether or not to verify SSL certificates. By default SSL certificates are verified.",
    )
    aws_access_key_id: str | None = Field(
        default=None, description="AWS access key ID to use when creating the boto3 session."
    )
    aws_secret_access_key: str | None = Field(
        default=None, description="AWS secret access key to use when creating the boto3 session."
    )
    aws_session_token: str | None = Field(
        default=None, description="AWS session token to use when creating the boto3 session."
    )
