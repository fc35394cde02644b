"""What every job of a deployment is created with, whichever pipeline sends it: key, bucket owner, VPC, tags."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import MAX_TAGS, TAG_TEXT

PIPELINE_TAG = "bedrock-assets:pipeline"
"""Set beside tags that are given, so that costs can be told apart by pipeline. Without any, no permission is needed."""
MAX_SUBNETS, MAX_SECURITY_GROUPS = 16, 5
MAX_TAG_KEY_CHARS, MAX_TAG_VALUE_CHARS = 128, 256
KEY_ARN = re.compile(r"arn:aws(-[^:]+)?:kms:[a-zA-Z0-9-]+:[0-9]{12}:(key/[a-zA-Z0-9-]{36}|alias/[a-zA-Z0-9\-_/]+)")
"""These bounds: service model of botocore 1.44."""
_OWNER = re.compile(r"[0-9]{12}")
_RESOURCE_ID = re.compile(r"[-0-9a-zA-Z]{1,32}")


@dataclass(frozen=True)
class Vpc:
    """
    Where Bedrock puts the network interfaces by which a job reaches the bucket.

    Raises:
        ConfigError: Subnets or security groups are missing, too many, or no ids.
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
                    f"a VPC of jobs takes 1 to {most} {what}, and {len(ids)} are given; set both "
                    "BEDROCK_ASSETS_SUBNET_IDS and BEDROCK_ASSETS_SECURITY_GROUP_IDS, or neither"
                )
            wrong = [each for each in ids if not _RESOURCE_ID.fullmatch(each)]
            if wrong:
                raise ConfigError(f"{wrong[0]!r} among the {what} of jobs is no id such as subnet-0123456789abcdef0")

    @classmethod
    def of(cls, subnet_ids: Sequence[str], security_group_ids: Sequence[str]) -> "Vpc | None":
        """The VPC, None where neither is given."""
        return cls(tuple(subnet_ids), tuple(security_group_ids)) if subnet_ids or security_group_ids else None


@dataclass(frozen=True)
class JobSettings:
    """
    What Create is told beside the job itself.

    Raises:
        ConfigError: A setting is none that Bedrock takes.
    """

    kms_key_arn: str | None = None
    """Bedrock writes the outputs under this key; without it the bucket's own encryption holds."""
    bucket_owner: str | None = None
    """The account that the bucket has to belong to."""
    vpc: Vpc | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of all jobs; a pipeline's own go before."""

    def __post_init__(self) -> None:
        require_key(self.kms_key_arn)
        require_owner(self.bucket_owner)
        require_tags(self.tags)

    def arguments(self, input_uri: str, output_uri: str, tags: Mapping[str, str], pipeline: str) -> dict[str, Any]:
        """
        Create's arguments that these settings decide.

        Args:
            tags: The pipeline's own.
            pipeline: Its name.
        """
        owner = {"s3BucketOwner": self.bucket_owner} if self.bucket_owner else {}
        key = {"s3EncryptionKeyId": self.kms_key_arn} if self.kms_key_arn else {}
        found: dict[str, Any] = {
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_uri, "s3InputFormat": "JSONL", **owner}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": output_uri, **key, **owner}},
        }
        if self.vpc:
            found["vpcConfig"] = {
                "subnetIds": list(self.vpc.subnet_ids),
                "securityGroupIds": list(self.vpc.security_group_ids),
            }
        if all_tags := {**self.tags, **tags}:
            all_tags.setdefault(PIPELINE_TAG, pipeline)
            found["tags"] = [{"key": key, "value": value} for key, value in sorted(all_tags.items())]
        return found


def require_key(arn: str | None) -> None:
    """
    Raises:
        ConfigError: It is no ARN of a KMS key or alias.
    """
    if arn is not None and not KEY_ARN.fullmatch(arn):
        raise ConfigError(
            f"KMS key {arn!r} is no ARN such as arn:aws:kms:us-east-1:123456789012:key/1234abcd-...; "
            "set BEDROCK_ASSETS_KMS_KEY_ARN to that of a key or an alias"
        )


def require_owner(account: str | None) -> None:
    """
    Raises:
        ConfigError: It is no account id.
    """
    if account is not None and not _OWNER.fullmatch(account):
        raise ConfigError(
            f"bucket owner {account!r} is no AWS account id; set BEDROCK_ASSETS_BUCKET_OWNER to its 12 digits"
        )


def require_tags(tags: Mapping[str, str]) -> None:
    """
    Raises:
        ConfigError: There are too many, or one is none that AWS takes.
    """
    if len(tags) >= MAX_TAGS:
        raise ConfigError(f"{len(tags)} tags of jobs: AWS takes {MAX_TAGS}, of which one is our own")
    for key, value in tags.items():
        if fault := _fault_of_tag(key, value):
            raise ConfigError(f"tag {key!r} of jobs: {fault}")


def _fault_of_tag(key: str, value: str) -> str | None:
    if not 1 <= len(key) <= MAX_TAG_KEY_CHARS:
        return f"its key is to have 1 to {MAX_TAG_KEY_CHARS} characters"
    if len(value) > MAX_TAG_VALUE_CHARS:
        return f"its value is to have {MAX_TAG_VALUE_CHARS} characters at most"
    if not (TAG_TEXT.fullmatch(key) and TAG_TEXT.fullmatch(value)):
        return f"AWS takes letters, digits, spaces and . _ : / = + @ - in tags; its value is {value!r}"
    if key.lower().startswith("aws:"):
        return "keys that begin with `aws:` are AWS's own"
    return None


def parse_tags(text: str) -> dict[str, str]:
    """
    Tags written as `team=data,cost-center=42`.

    Raises:
        ConfigError: A piece has no `=`, or a key stands twice.
    """
    tags: dict[str, str] = {}
    for piece in parse_list(text):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or key in tags:
            why = "stands twice" if equals else "has no `=`"
            raise ConfigError(f"BEDROCK_ASSETS_TAGS: {piece!r} {why}; write tags as team=data,cost-center=42")
        tags[key] = value
    return tags


def parse_list(text: str) -> list[str]:
    """What stands between the commas of a setting."""
    return [piece.strip() for piece in text.split(",") if piece.strip()]
