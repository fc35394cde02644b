"""Settings of every job in a deployment, whichever pipeline sends it: KMS key, bucket owner, VPC, tags."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import MAX_TAGS, TAG_TEXT

PIPELINE_TAG = "bedrock-assets:pipeline"
"""Added if jobs have tags, to split costs by pipeline; jobs without tags need no permission to tag."""
MAX_SUBNETS, MAX_SECURITY_GROUPS = 16, 5
MAX_TAG_KEY_CHARS, MAX_TAG_VALUE_CHARS = 128, 256
KEY_ARN = re.compile(r"arn:aws(-[^:]+)?:kms:[a-zA-Z0-9-]+:[0-9]{12}:(key/[a-zA-Z0-9-]{36}|alias/[a-zA-Z0-9\-_/]+)")
"""Source of these limits: service model of botocore 1.44."""
_OWNER = re.compile(r"[0-9]{12}")
_RESOURCE_ID = re.compile(r"[-0-9a-zA-Z]{1,32}")


@dataclass(frozen=True)
class Vpc:
    """
    Where Bedrock puts the network interfaces through which a job reaches the bucket.

    Raises:
        ConfigError: Subnets or security groups are missing, too many, or not ids.
    """

    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        for what, ids, most in (
            ("subnets", self.subnet_ids, MAX_SUBNETS),
            ("security groups", self.security_group_ids, MAX_SECURITY_GROUPS),
        ):
            if not 1 <= len(ids) <= most:
                raise ConfigError(
                    f"a VPC of jobs needs 1 to {most} {what}, but {len(ids)} are given; set both "
                    "BEDROCK_ASSETS_SUBNET_IDS and BEDROCK_ASSETS_SECURITY_GROUP_IDS, or neither"
                )
            invalid = [resource for resource in ids if not _RESOURCE_ID.fullmatch(resource)]
            if invalid:
                raise ConfigError(f"{invalid[0]!r} in the {what} of jobs is not an id such as subnet-0123456789abcdef0")

    @classmethod
    def of(cls, subnet_ids: Sequence[str], security_group_ids: Sequence[str]) -> "Vpc | None":
        """The VPC, or None if neither is given."""
        return cls(tuple(subnet_ids), tuple(security_group_ids)) if subnet_ids or security_group_ids else None


@dataclass(frozen=True)
class JobSettings:
    """
    Settings of all jobs that go into each Create call.

    Raises:
        ConfigError: Bedrock would not accept a setting.
    """

    kms_key_arn: str | None = None
    """Bedrock encrypts outputs with this key; the default is the bucket's own encryption."""
    bucket_owner: str | None = None
    """The account that must own the bucket."""
    vpc: Vpc | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of all jobs; a pipeline's own tags take precedence."""

    def __post_init__(self) -> None:
        require_key(self.kms_key_arn)
        require_tags(self.tags)
        owner = self.bucket_owner
        if owner is not None and not _OWNER.fullmatch(owner):
            raise ConfigError(
                f"bucket owner {owner!r} is not an AWS account id; set BEDROCK_ASSETS_BUCKET_OWNER to 12 digits"
            )

    def arguments(self, input_uri: str, output_uri: str, tags: Mapping[str, str], pipeline: str) -> dict[str, Any]:
        """
        Arguments of Create that depend on these settings.

        Args:
            tags: The pipeline's own tags.
            pipeline: The pipeline's name.
        """
        owner = {"s3BucketOwner": self.bucket_owner} if self.bucket_owner else {}
        key = {"s3EncryptionKeyId": self.kms_key_arn} if self.kms_key_arn else {}
        arguments: dict[str, Any] = {
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_uri, "s3InputFormat": "JSONL", **owner}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": output_uri, **key, **owner}},
        }
        if self.vpc:
            arguments["vpcConfig"] = {
                "subnetIds": list(self.vpc.subnet_ids),
                "securityGroupIds": list(self.vpc.security_group_ids),
            }
        if all_tags := {**self.tags, **tags}:
            all_tags.setdefault(PIPELINE_TAG, pipeline)
            arguments["tags"] = [{"key": key, "value": value} for key, value in sorted(all_tags.items())]
        return arguments


def require_key(arn: str | None) -> None:
    """
    Raises:
        ConfigError: It is not the ARN of a KMS key or alias.
    """
    if arn is not None and not KEY_ARN.fullmatch(arn):
        raise ConfigError(
            f"KMS key {arn!r} is not an ARN such as arn:aws:kms:us-east-1:123456789012:key/1234abcd-...; "
            "set BEDROCK_ASSETS_KMS_KEY_ARN to the ARN of a key or an alias"
        )


def require_tags(tags: Mapping[str, str]) -> None:
    """
    Raises:
        ConfigError: There are too many tags of jobs, or AWS would not accept one.
    """
    if len(tags) >= MAX_TAGS:
        raise ConfigError(f"{len(tags)} job tags are too many; AWS allows {MAX_TAGS}, and bedrock-assets adds one")
    for key, value in tags.items():
        if problem := _problem_with_tag(key, value):
            raise ConfigError(f"job tag {key!r}: {problem}")


def _problem_with_tag(key: str, value: str) -> str | None:
    if not 1 <= len(key) <= MAX_TAG_KEY_CHARS:
        return f"its key must have 1 to {MAX_TAG_KEY_CHARS} characters"
    if len(value) > MAX_TAG_VALUE_CHARS:
        return f"its value may have at most {MAX_TAG_VALUE_CHARS} characters"
    if not (TAG_TEXT.fullmatch(key) and TAG_TEXT.fullmatch(value)):
        return f"AWS allows letters, digits, spaces and . _ : / = + @ - in tags; its value is {value!r}"
    if key.lower().startswith("aws:"):
        return "keys that start with `aws:` are reserved for AWS"
    return None


def parse_tags(text: str) -> dict[str, str]:
    """
    Parse tags written as `team=data,cost-center=42`.

    Raises:
        ConfigError: An entry has no `=`, or a key is repeated.
    """
    tags: dict[str, str] = {}
    for entry in parse_list(text):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or key in tags:
            problem = "repeats a key" if equals else "has no `=`"
            raise ConfigError(f"BEDROCK_ASSETS_TAGS: {entry!r} {problem}; write tags as team=data,cost-center=42")
        tags[key] = value
    return tags


def parse_list(text: str) -> list[str]:
    """The entries of a comma-separated setting."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]
