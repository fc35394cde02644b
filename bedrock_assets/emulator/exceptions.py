"""
The errors that Bedrock and Service Quotas answer with, one class each.

The class name is the wire name (header `x-amzn-ErrorType`). HTTP codes: botocore service model, 2026-11.
"""

from typing import Any, ClassVar


class AWSError(Exception):
    """Root of the errors that go over the wire; the text is the `message`."""

    http_status: ClassVar[int]

    def __init_subclass__(cls, *, http_status: int, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.http_status = http_status

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ValidationException(AWSError, http_status=400):
    """A member of the request breaks a constraint of the API."""


class SerializationException(AWSError, http_status=400):
    """The body is not JSON, or a member has the wrong JSON type."""


class ConflictException(AWSError, http_status=400):
    """The request conflicts with an existing job, or with the job's status."""


class ServiceQuotaExceededException(AWSError, http_status=400):
    """The model has as many jobs in flight as the account may have."""


class TooManyTagsException(AWSError, http_status=400):
    """A resource has as many tags as it may have."""


class NoSuchResourceException(AWSError, http_status=400):
    """Service Quotas only: there is no such service or quota."""


class InvalidPaginationTokenException(AWSError, http_status=400):
    """Service Quotas only: the page token is not from this service."""


class AccessDeniedException(AWSError, http_status=403):
    """The caller may not do this."""


class ResourceNotFoundException(AWSError, http_status=404):
    """The region has no such job or resource."""


class UnknownOperationException(AWSError, http_status=404):
    """No emulated operation has this method and path."""


class ModelTimeoutException(AWSError, http_status=408):
    """On demand only: the model took too long."""


class ModelErrorException(AWSError, http_status=424):
    """On demand only: the model failed on this request."""


class ModelNotReadyException(AWSError, http_status=429):
    """On demand only: the model is not ready; AWS SDKs retry."""


class ThrottlingException(AWSError, http_status=429):
    """Too many calls; the same call may succeed later."""


class InternalServerException(AWSError, http_status=500):
    """The service failed; the call may have had its effect."""


class ServiceUnavailableException(AWSError, http_status=503):
    """On demand only: the service cannot take the call now."""
