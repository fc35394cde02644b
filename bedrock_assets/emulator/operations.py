"""The emulated operations, by the short name that faults use."""

from typing import Literal, NamedTuple, TypeAlias, get_args

Operation: TypeAlias = Literal[
    "Create",
    "Get",
    "List",
    "Stop",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "InvokeModel",
    "InvokeModelWithResponseStream",
    "Converse",
    "ConverseStream",
    "CountTokens",
    "ListFoundationModels",
    "GetFoundationModel",
    "ListInferenceProfiles",
    "GetInferenceProfile",
    "ListServiceQuotas",
    "GetServiceQuota",
    "ListAWSDefaultServiceQuotas",
    "GetAWSDefaultServiceQuota",
]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)


class Spec(NamedTuple):
    """Where botocore describes an operation."""

    service: str
    """Name of the service model, as in `boto3.client(...)`."""
    name: str


SPECS: dict[Operation, Spec] = {
    "Create": Spec("bedrock", "CreateModelInvocationJob"),
    "Get": Spec("bedrock", "GetModelInvocationJob"),
    "List": Spec("bedrock", "ListModelInvocationJobs"),
    "Stop": Spec("bedrock", "StopModelInvocationJob"),
    "TagResource": Spec("bedrock", "TagResource"),
    "UntagResource": Spec("bedrock", "UntagResource"),
    "ListTagsForResource": Spec("bedrock", "ListTagsForResource"),
    "ListFoundationModels": Spec("bedrock", "ListFoundationModels"),
    "GetFoundationModel": Spec("bedrock", "GetFoundationModel"),
    "ListInferenceProfiles": Spec("bedrock", "ListInferenceProfiles"),
    "GetInferenceProfile": Spec("bedrock", "GetInferenceProfile"),
    "InvokeModel": Spec("bedrock-runtime", "InvokeModel"),
    "InvokeModelWithResponseStream": Spec("bedrock-runtime", "InvokeModelWithResponseStream"),
    "Converse": Spec("bedrock-runtime", "Converse"),
    "ConverseStream": Spec("bedrock-runtime", "ConverseStream"),
    "CountTokens": Spec("bedrock-runtime", "CountTokens"),
    "ListServiceQuotas": Spec("service-quotas", "ListServiceQuotas"),
    "GetServiceQuota": Spec("service-quotas", "GetServiceQuota"),
    "ListAWSDefaultServiceQuotas": Spec("service-quotas", "ListAWSDefaultServiceQuotas"),
    "GetAWSDefaultServiceQuota": Spec("service-quotas", "GetAWSDefaultServiceQuota"),
}
