"""
The IAM policy documents that a deployment on AWS needs: least privilege.

Source: permissions and service role of batch inference, Amazon Bedrock user guide, and the actions of Amazon S3, AWS
service authorization reference, both 2026-11.
"""

import re
from dataclasses import dataclass
from typing import Any

from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import S3_URI

Document = dict[str, Any]

JOBS = (
    "bedrock:CreateModelInvocationJob",
    "bedrock:GetModelInvocationJob",
    "bedrock:ListModelInvocationJobs",
    "bedrock:StopModelInvocationJob",
)
TAG_JOBS = ("bedrock:TagResource",)
"""Needed to create jobs with tags."""
LOOK = (
    "bedrock:GetFoundationModel",
    "bedrock:ListFoundationModels",
    "bedrock:ListInferenceProfiles",
    "servicequotas:ListServiceQuotas",
)
INVOKE = ("bedrock:InvokeModel",)
"""Also allows Converse."""
COUNT = ("bedrock:CountTokens",)
"""Free, for estimates."""
READ_OBJECTS = ("s3:GetObject",)
WRITE_OBJECTS = ("s3:PutObject", "s3:AbortMultipartUpload")
DELETE_OBJECTS = ("s3:DeleteObject",)
LIST_BUCKET = ("s3:ListBucket",)
USE_KEY = ("kms:Decrypt", "kms:GenerateDataKey")
"""Reading under a key, and writing; a multipart upload takes both."""
READ_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage")
LOOK_AT_VPC = (
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeVpcs",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeSubnets",
    "ec2:DescribeSecurityGroups",
)
PUT_INTERFACE = ("ec2:CreateNetworkInterface",)
TAKE_INTERFACE_AWAY = (
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
)
TAG_INTERFACE = ("ec2:CreateTags",)
"""Source: protect batch inference jobs using a VPC, Amazon Bedrock user guide, 2026-11."""
READ_METRICS = ("cloudwatch:GetMetricData",)
"""For any metric: CloudWatch cannot restrict it to a resource or namespace."""
ASSUME = ("sts:AssumeRole",)
WRITE_VECTORS = (
    "s3vectors:GetIndex",
    "s3vectors:CreateIndex",
    "s3vectors:ListVectors",
    "s3vectors:GetVectors",
    "s3vectors:PutVectors",
    "s3vectors:DeleteVectors",
)
"""ListVectors asks for GetVectors as well where it returns metadata. Source: boto3's documentation of it, 2026-11."""
_ARN_PARTS = 6
_QUEUE = re.compile(r"arn:[a-z-]+:sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,80}(\.fifo)?")


@dataclass(frozen=True)
class Deployment:
    """What a deployment uses in AWS."""

    store: str
    """`s3://bucket/prefix`."""
    role_arn: str
    """The service role that Bedrock takes on."""
    region: str
    key_arn: str | None = None
    """The KMS key of the bucket's files, if there is one."""
    events_queue: str = ""
    """ARN of the SQS queue that wakes the sensor early; empty if there is none."""
    subnet_ids: tuple[str, ...] = ()
    """Where jobs get network interfaces, if they run in a VPC; `*` stands for any."""
    security_group_ids: tuple[str, ...] = ()
    tags: bool = False
    """Whether jobs are tagged."""
    cloudwatch: bool = False
    """Whether the metrics of batch jobs are read from CloudWatch."""
    assumed: str = ""
    """ARN of a role of another account that calls are made as; empty if there is none."""
    vector_bucket: str = ""
    """Vector bucket of the sink `s3_vectors`, in the same Region; empty if there is none."""

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigError: The store is not an S3 URI, or the role, key or queue is not an ARN.
        """
        if not S3_URI.fullmatch(self.store):
            raise ConfigError(f"store {self.store!r} is not an S3 URI such as s3://my-bucket/batch")
        if not _is_arn(self.role_arn, "iam", "role/"):
            raise ConfigError(
                f"role {self.role_arn!r} is not an ARN such as arn:aws:iam::123456789012:role/bedrock-batch"
            )
        if self.key_arn is not None and not _is_arn(self.key_arn, "kms", "key/"):
            raise ConfigError(
                f"key {self.key_arn!r} is not an ARN such as arn:aws:kms:us-east-1:123456789012:key/1234abcd-...; "
                "`aws kms describe-key --key-id alias/NAME` prints the ARN of an alias"
            )
        if self.assumed and not _is_arn(self.assumed, "iam", "role/"):
            raise ConfigError(
                f"role {self.assumed!r} is not an ARN such as arn:aws:iam::210987654321:role/bedrock-caller"
            )
        if self.events_queue and not _QUEUE.fullmatch(self.events_queue):
            raise ConfigError(
                f"queue {self.events_queue!r} is not an ARN such as arn:aws:sqs:us-east-1:123456789012:events"
            )

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn` or `aws-us-gov`."""
        return self.role_arn.split(":")[1]

    @property
    def account(self) -> str:
        """The role's account, which must be the jobs' as well."""
        return self.role_arn.split(":")[4]

    @property
    def suffix(self) -> str:
        """The ending of the names of the partition's services."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @property
    def bucket_arn(self) -> str:
        """The store's bucket."""
        return f"arn:{self.partition}:s3:::{self.store.removeprefix('s3://').partition('/')[0]}"

    @property
    def objects_arn(self) -> str:
        """All objects of the store."""
        return f"arn:{self.partition}:s3:::{self.store.removeprefix('s3://').rstrip('/')}/*"

    @property
    def indexes_arn(self) -> str:
        """All indexes of the vector bucket."""
        return f"arn:{self.partition}:s3vectors:{self.region}:{self.account}:bucket/{self.vector_bucket}/index/*"


def caller_policy(deployment: Deployment) -> Document:
    """Permissions of Dagster's processes: create and watch jobs, pass the role, read and write the store."""
    through_s3 = {"Condition": {"StringEquals": {"kms:ViaService": f"s3.{deployment.region}.{deployment.suffix}"}}}
    return _policy(
        _allow("Jobs", JOBS, "*"),
        _allow("OnDemand", (*INVOKE, *COUNT), *_models(deployment)),
        _allow("Role", ("iam:PassRole",), deployment.role_arn)
        | {"Condition": {"StringEquals": {"iam:PassedToService": "bedrock.amazonaws.com"}}},
        _allow("Objects", (*READ_OBJECTS, *WRITE_OBJECTS, *DELETE_OBJECTS), deployment.objects_arn),
        _allow("Bucket", LIST_BUCKET, deployment.bucket_arn),
        *([_allow("Key", USE_KEY, deployment.key_arn) | through_s3] if deployment.key_arn else []),
        *([_allow("Tags", TAG_JOBS, _jobs(deployment))] if deployment.tags else []),
        *([_allow("Events", READ_QUEUE, deployment.events_queue)] if deployment.events_queue else []),
        *([_allow("Metrics", READ_METRICS, "*")] if deployment.cloudwatch else []),
        *([_allow("Assume", ASSUME, deployment.assumed)] if deployment.assumed else []),
        *([_allow("Vectors", WRITE_VECTORS, deployment.indexes_arn)] if deployment.vector_bucket else []),
    )


def doctor_policy(deployment: Deployment) -> Document:
    """More permissions for `bedrock-assets doctor`; without them it says which check it could not make."""
    return _policy(
        _allow("Look", LOOK, "*"),
        _allow("LookAtRole", ("iam:GetRole",), deployment.role_arn),
    )


def role_policy(deployment: Deployment) -> Document:
    """Permissions of the service role: read prompts, write outputs, call the model through a profile."""
    return _policy(
        _allow("Objects", (*READ_OBJECTS, "s3:PutObject"), deployment.objects_arn),
        _allow("Bucket", LIST_BUCKET, deployment.bucket_arn),
        _allow("Profiles", INVOKE, *_models(deployment)),
        *([_allow("Key", USE_KEY, deployment.key_arn)] if deployment.key_arn else []),
        *(_vpc_statements(deployment) if deployment.subnet_ids else []),
    )


def role_trust(deployment: Deployment) -> Document:
    """Who may assume the service role: Bedrock, for batch inference jobs of this account and Region."""
    return _policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": "bedrock.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": deployment.account},
                "ArnEquals": {"aws:SourceArn": _jobs(deployment)},
            },
        }
    )


def _vpc_statements(deployment: Deployment) -> list[Document]:
    """Interfaces may be made in these subnets, for batch inference jobs of this account alone."""
    own = f"arn:{deployment.partition}:ec2:{deployment.region}:{deployment.account}"
    interfaces = f"{own}:network-interface/*"
    subnets = [f"{own}:subnet/{each}" for each in deployment.subnet_ids]
    groups = [f"{own}:security-group/{each}" for each in deployment.security_group_ids]
    made_for = {"ArnLike": {"aws:RequestTag/BedrockModelInvocationJobArn": [_jobs(deployment)]}}
    of_subnets = {"ec2:Subnet": subnets, "ec2:ResourceTag/BedrockModelInvocationJobArn": [_jobs(deployment)]}
    create = {"ec2:CreateAction": ["CreateNetworkInterface"]}
    keys = {"aws:TagKeys": ["BedrockManaged", "BedrockModelInvocationJobArn"]}
    return [
        _allow("Vpc", LOOK_AT_VPC, "*"),
        _allow("Interfaces", PUT_INTERFACE, interfaces, *subnets, *groups)
        | {"Condition": {"StringEquals": {"aws:RequestTag/BedrockManaged": ["true"]}, **made_for}},
        _allow("OwnInterfaces", TAKE_INTERFACE_AWAY, "*") | {"Condition": {"ArnLike": of_subnets}},
        _allow("TagInterfaces", TAG_INTERFACE, interfaces)
        | {"Condition": {"StringEquals": create, "ForAllValues:StringEquals": keys}},
    ]


def _jobs(deployment: Deployment) -> str:
    return f"arn:{deployment.partition}:bedrock:{deployment.region}:{deployment.account}:model-invocation-job/*"


def _models(deployment: Deployment) -> tuple[str, str, str]:
    """An inference profile calls its model in each of the profile's Regions."""
    own = f"arn:{deployment.partition}:bedrock:{deployment.region}:{deployment.account}"
    return (
        f"arn:{deployment.partition}:bedrock:*::foundation-model/*",
        f"{own}:inference-profile/*",
        f"{own}:application-inference-profile/*",
    )


def _is_arn(text: str, service: str, resource: str) -> bool:
    parts = text.split(":")
    return len(parts) == _ARN_PARTS and parts[2] == service and parts[5].startswith(resource)


def _policy(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: tuple[str, ...], *resources: str) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
