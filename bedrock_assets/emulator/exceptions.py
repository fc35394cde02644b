"""
The errors that Bedrock answers with, one class each.

    AWSError
    ├── ValidationException            400
    ├── SerializationException         400   the body is not JSON, or a member has another JSON type
    ├── ConflictException              400
    ├── ServiceQuotaExceededException  400
    ├── TooManyTagsException           400
    ├── NoSuchResourceException        400   Service Quotas only, as the next
    ├── InvalidPaginationTokenException 400
    ├── AccessDeniedException          403
    ├── ResourceNotFoundException      404
    ├── UnknownOperationException      404
    ├── ModelTimeoutException          408   on demand only, as the next two and ServiceUnavailable
    ├── ModelErrorException            424
    ├── ModelNotReadyException         429
    ├── ThrottlingException            429
    ├── InternalServerException        500
    └── ServiceUnavailableException    503

The class name is the wire name (header `x-amzn-ErrorType`). HTTP codes: botocore service model, 2026-11.
"""

from typing import ClassVar


class AWSError(Exception):
    """Root of the errors that go over the wire; its text is the `message`."""

    http_status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ValidationException(AWSError):
    """A member of the request breaks a constraint of the API."""

    http_status = 400


class SerializationException(AWSError):
    """The body is not JSON, or a member has another JSON type than the model's."""

    http_status = 400


class ConflictException(AWSError):
    """The request clashes with a job that exists, or with the state the job is in."""

    http_status = 400


class ServiceQuotaExceededException(AWSError):
    """The model already has as many jobs in flight as the account may have."""

    http_status = 400


class TooManyTagsException(AWSError):
    """A resource has as many tags as it may have."""

    http_status = 400


class NoSuchResourceException(AWSError):
    """Service Quotas knows no such service or quota."""

    http_status = 400


class InvalidPaginationTokenException(AWSError):
    """Service Quotas gave no such page token."""

    http_status = 400


class AccessDeniedException(AWSError):
    """The caller may not do this."""

    http_status = 403


class ResourceNotFoundException(AWSError):
    """There is no such job or resource in this Region."""

    http_status = 404


class UnknownOperationException(AWSError):
    """The method and path belong to no operation that is emulated."""

    http_status = 404


class ThrottlingException(AWSError):
    """Too many calls; the same call may succeed later."""

    http_status = 429


class InternalServerException(AWSError):
    """The service failed; the call may or may not have had its effect."""

    http_status = 500


class ModelTimeoutException(AWSError):
    """The model took too long over this request."""

    http_status = 408


class ModelErrorException(AWSError):
    """The model failed on this request."""

    http_status = 424


class ModelNotReadyException(AWSError):
    """The model is not ready to serve requests; AWS SDKs retry it."""

    http_status = 429


class ServiceUnavailableException(AWSError):
    """The service cannot take the call now."""

    http_status = 503
