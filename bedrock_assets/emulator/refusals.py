"""
What Create answers to the model, the role or the bucket of a job that it does not take.

Each can be met by such a request, or be injected with the fault `create_refusal`. Words: field reports of 2024 to 2026
where there are any. Those of `bucket_owner` and `pass_role` are ours, and so are some sentences around reported ones.
"""

from typing import Literal, TypeAlias

from bedrock_assets.emulator.exceptions import (
    AccessDeniedException,
    AWSError,
    ResourceNotFoundException,
    ValidationException,
)

CreateRefusal: TypeAlias = Literal[
    "unknown_model",
    "needs_profile",
    "wrong_geography",
    "foreign_arn",
    "no_batch",
    "legacy",
    "ended",
    "not_entitled",
    "foreign_role",
    "pass_role",
    "bucket_owner",
]
"""Why Create refuses a job, apart from what the service model's constraints and the quotas say."""

_INVALID_MODEL = (ValidationException, "The provided model identifier is invalid.")
_WORDS: dict[CreateRefusal, tuple[type[AWSError], str]] = {
    "unknown_model": _INVALID_MODEL,
    "needs_profile": _INVALID_MODEL,
    "wrong_geography": _INVALID_MODEL,
    "foreign_arn": _INVALID_MODEL,
    "no_batch": (ValidationException, "Batch inference is not supported for the requested model."),
    "legacy": (
        ResourceNotFoundException,
        "Access denied. This Model is marked by provider as Legacy and you have not been actively using the model in "
        "the last 30 days. Please upgrade to an active model on Amazon Bedrock.",
    ),
    "ended": (
        ResourceNotFoundException,
        "This model version has reached the end of its life. Please refer to the AWS documentation for more details.",
    ),
    "not_entitled": (
        ValidationException,
        "Your account is not authorized to perform this action. Please create a support case.",
    ),
    "foreign_role": (AccessDeniedException, "Cross-account pass role is not allowed."),
    "pass_role": (
        AccessDeniedException,
        "User is not authorized to perform: iam:PassRole on the service role because no identity-based policy allows "
        "the iam:PassRole action.",
    ),
    "bucket_owner": (ValidationException, "The provided s3BucketOwner is not the owner of the S3 bucket."),
}


def refusal(reason: CreateRefusal) -> AWSError:
    """The error that Create answers with."""
    kind, message = _WORDS[reason]
    return kind(message)
