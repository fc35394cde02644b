"""
The errors that Bedrock and Service Quotas answer with, one class each.

The class name is the wire name (header `x-amzn-ErrorType`). HTTP codes: botocore service model, 2026-11.
"""

from typing import ClassVar


class AWSError(Exception):
    """Root of the errors that go over the wire; the text is the `message`."""

    http_status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ValidationException(AWSError):
    """A member of the request breaks a constraint of the API."""

    http_status = 400


class SerializationException(AWSError):
    """The body is not JSON, or a member has the wrong JSON type."""

    http_status = 400


class ConflictException(AWSError):
    """The request conflicts with an existing job, or with the job's status."""

    http_status = 400


class ServiceQuotaExceededException(AWSError):
    """The model has as many jobs in flight as the account may have."""

    http_status = 400


class TooManyTagsException(AWSError):
    """A resource has as many tags as it may have."""

    http_status = 400


class NoSuchResourceException(AWSError):
    """Service Quotas only: there is no such service or quota."""

    http_status = 400


class InvalidPaginationTokenException(AWSError):
    """Service Quotas only: the page token is not from this service."""

    http_status = 400


class AccessDeniedException(AWSError):
    """The caller may not do this."""

    http_status = 403


class ResourceNotFoundException(AWSError):
    """The region has no such job or resource."""

    http_status = 404


class UnknownOperationException(AWSError):
    """No emulated operation has this method and path."""

    http_status = 404


class ThrottlingException(AWSError):
    """Too many calls; the same call may succeed later."""

    http_status = 429


class InternalServerException(AWSError):
    """The service failed; the call may have had its effect."""

    http_status = 500


class ModelTimeoutException(AWSError):
    """On demand only: the model took too long."""

    http_status = 408


class ModelErrorException(AWSError):
    """On demand only: the model failed on this request."""

    http_status = 424


class ModelNotReadyException(AWSError):
    """On demand only: the model is not ready; AWS SDKs retry."""

    http_status = 429


class ServiceUnavailableException(AWSError):
    """On demand only: the service cannot take the call now."""

    http_status = 503
