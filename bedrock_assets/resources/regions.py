"""Other Regions and accounts of a deployment, as its YAML file lists them."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from bedrock_assets.config.job_settings import JobSettings, Vpc
from bedrock_assets.errors import ConfigError

REGIONS_FILE = "BEDROCK_ASSETS_REGIONS"


class RegionConfig(dg.Config):
    """A Region of an account where jobs run beside the deployment's own, and the bucket that Bedrock reads there."""

    region_name: str | None = Field(default=None, description="AWS Region; default: the deployment's own.")
    role_arn: str | None = Field(
        default=None, description="Service role of that account; default: the deployment's own."
    )
    assume_role_arn: str | None = Field(
        default=None, description="Role of that account that calls are made as, where it is another account."
    )
    external_id: str | None = Field(default=None, description="External id that the role's trust asks for.")
    store_url: str | None = Field(
        default=None, description="`s3://bucket/prefix` there; default: the deployment's own store."
    )
    kms_key_arn: str | None = Field(default=None, description="KMS key of that bucket.")
    bucket_owner: str | None = Field(default=None, description="Account that the bucket has to belong to.")
    vpc_subnet_ids: list[str] = Field(default=[], description="Subnets through which jobs there reach the bucket.")
    vpc_security_group_ids: list[str] = Field(default=[], description="Security groups of the jobs in these subnets.")
    endpoint_url: str | None = Field(default=None, description="Bedrock's endpoint other than AWS's own.")
    runtime_endpoint_url: str | None = Field(default=None, description="Endpoint of its runtime.")

    def job_settings(self, tags: dict[str, str]) -> JobSettings:
        """
        Settings with which jobs are created.

        Raises:
            ConfigError: Bedrock would refuse a setting.
        """
        vpc = Vpc.of(self.vpc_subnet_ids, self.vpc_security_group_ids)
        return JobSettings(self.kms_key_arn, self.bucket_owner, vpc, tags)


def read_regions(path: str | None) -> list[RegionConfig]:
    """
    The other Regions and accounts of a deployment, from a YAML file with a list of them.

    Raises:
        ConfigError: It cannot be read, or an entry is wrong.
    """
    if not path:
        return []
    try:
        entries = TypeAdapter(list[dict[str, Any]]).validate_python(yaml.safe_load(Path(path).read_text("utf-8")))
        return [_region(entry) for entry in entries]
    except (OSError, yaml.YAMLError, ValidationError, ConfigError) as error:
        raise ConfigError(f"{REGIONS_FILE}={path}: {error}") from error


def _region(entry: dict[str, Any]) -> RegionConfig:
    unknown = sorted(entry.keys() - {*RegionConfig.model_fields})
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}; known: {', '.join(RegionConfig.model_fields)}")
    region = RegionConfig(**entry)
    region.job_settings({})
    return region
