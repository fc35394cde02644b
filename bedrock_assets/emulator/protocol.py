"""How answers and errors are written: rest-json for Bedrock, AWS JSON 1.1 for Service Quotas."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bedrock_assets.emulator.exceptions import AWSError
from bedrock_assets.emulator.jsontypes import JsonObject

SERVER_SIDE = 500
"""HTTP codes from here on are the service's fault."""


@dataclass(frozen=True)
class WireError:
    """An error as it goes over the wire."""

    name: str
    """Also the header `x-amzn-ErrorType`."""
    http_status: int
    body: JsonObject


@dataclass(frozen=True)
class Protocol:
    """One of the two wire formats; they differ in their media type and in their errors."""

    media_type: str
    member: str
    """Where the body of an error has its message."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Errors that the service calls otherwise than Bedrock does."""
    typed: bool = False
    """Whether the body names the error too; every error of the caller's is a 400 then."""

    def error(self, error: AWSError) -> WireError:
        """*error* in this format."""
        name = self.names.get(type(error).__name__, type(error).__name__)
        kind: JsonObject = {"__type": name} if self.typed else {}
        status = 400 if self.typed and error.http_status < SERVER_SIDE else error.http_status
        return WireError(name, status, {**kind, self.member: error.message})


REST_JSON = Protocol("application/json", "message")
SERVICE_QUOTAS = Protocol(
    "application/x-amz-json-1.1",
    "Message",
    {
        "ValidationException": "IllegalArgumentException",
        "SerializationException": "IllegalArgumentException",
        "ThrottlingException": "TooManyRequestsException",
        "InternalServerException": "ServiceException",
    },
    typed=True,
)


def protocol_of(headers: Mapping[str, str]) -> Protocol:
    """The format that a request expects: JSON 1.1 names its operation in a header."""
    return SERVICE_QUOTAS if "x-amz-target" in headers else REST_JSON
