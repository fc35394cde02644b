"""
The wire: HTTP requests to checked calls, jobs and errors to response bodies.

Bedrock speaks rest-json, Service Quotas speaks AWS JSON 1.1. ARNs arrive percent-encoded (`%3A`, `%2F`), and
frameworks decode them before routing, so paths are matched raw.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qsl, unquote

from botocore.model import StructureShape

from bedrock_assets.emulator import shapes
from bedrock_assets.emulator.exceptions import (
    AWSError,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_str, dump, parse
from bedrock_assets.emulator.models import Job
from bedrock_assets.emulator.operations import SPECS, Operation

DEFAULT_REGION = "us-east-1"

MAX_INVOKE_BYTES = 25_000_000
"""Bytes of InvokeModel's body (service model)."""

SERVICE_ERROR = 500
"""HTTP codes from here on are the service's fault."""

_ROUTES: tuple[tuple[str, re.Pattern[str], Operation], ...] = (
    ("POST", re.compile(r"/model-invocation-job"), "Create"),
    ("GET", re.compile(r"/model-invocation-jobs"), "List"),
    ("POST", re.compile(r"/model-invocation-job/(?P<jobIdentifier>.+)/stop"), "Stop"),
    ("GET", re.compile(r"/model-invocation-job/(?P<jobIdentifier>.+)"), "Get"),
    ("POST", re.compile(r"/tagResource"), "TagResource"),
    ("POST", re.compile(r"/untagResource"), "UntagResource"),
    ("POST", re.compile(r"/listTagsForResource"), "ListTagsForResource"),
    ("GET", re.compile(r"/foundation-models"), "ListFoundationModels"),
    ("GET", re.compile(r"/foundation-models/(?P<modelIdentifier>.+)"), "GetFoundationModel"),
    ("GET", re.compile(r"/inference-profiles"), "ListInferenceProfiles"),
    ("GET", re.compile(r"/inference-profiles/(?P<inferenceProfileIdentifier>.+)"), "GetInferenceProfile"),
    ("POST", re.compile(r"/model/(?P<modelId>.+)/invoke"), "InvokeModel"),
    ("POST", re.compile(r"/model/(?P<modelId>.+)/invoke-with-response-stream"), "InvokeModelWithResponseStream"),
    ("POST", re.compile(r"/model/(?P<modelId>.+)/converse"), "Converse"),
    ("POST", re.compile(r"/model/(?P<modelId>.+)/converse-stream"), "ConverseStream"),
    ("POST", re.compile(r"/model/(?P<modelId>.+)/count-tokens"), "CountTokens"),
)
_TARGET = "ServiceQuotasV20190624"
"""First part of `X-Amz-Target` (service model)."""

_ARN_REGION = re.compile(r"arn:[^:]*:bedrock:(?P<region>[^:]+):")
_CREDENTIAL = re.compile(r"Credential=[^,\s]*?/\d{8}/(?P<region>[a-z0-9-]+)/")


@dataclass(frozen=True)
class Call:
    """One request, not yet checked."""

    operation: Operation
    members: JsonObject
    region: str
    """Region that the SigV4 signature names, or else the ARN."""
    payload: bytes = b""
    """Body of an operation whose body is not JSON members."""

    def checked(self) -> JsonObject:
        """The request's members, checked against the service model."""
        return shapes.check(self.operation, self.members)


@dataclass(frozen=True)
class Protocol:
    """One of the two wire formats; they differ in media type and errors."""

    media_type: str
    member: str
    """Member of an error's body that holds the message."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Errors that the service names differently from Bedrock."""
    typed: bool = False
    """Whether the body names the error too; every error of the caller is a 400 then."""

    def error(self, error: AWSError) -> tuple[str, int, JsonObject]:
        """Name, HTTP status and body of an error."""
        name = self.names.get(type(error).__name__, type(error).__name__)
        kind: JsonObject = {"__type": name} if self.typed else {}
        status = 400 if self.typed and error.http_status < SERVICE_ERROR else error.http_status
        return name, status, {**kind, self.member: error.message}


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


def read_call(method: str, raw_path: str, query: str, body: bytes, headers: Mapping[str, str]) -> Call:
    """
    Read which operation a request calls, and its members.

    Raises:
        UnknownOperationException: No emulated operation has this method and path.
        SerializationException: The body is not a JSON object, or the query has a malformed number or time.
    """
    target = headers.get("x-amz-target")
    operation, members = _route(method, raw_path) if target is None else (_targeted(target), {})
    match operation:
        case "Get" | "Stop" | "GetFoundationModel" | "GetInferenceProfile":
            pass
        case "List" | "ListFoundationModels" | "ListInferenceProfiles":
            members = _query(query, operation)
        case "InvokeModel" | "InvokeModelWithResponseStream":
            members |= _header_members(operation, headers)
        case _:
            members = _body(body) | members
    signature = _CREDENTIAL.search(headers.get("authorization", ""))
    arn = _ARN_REGION.match(as_str(members.get("jobIdentifier", members.get("resourceARN"))))
    scope = signature or arn  # a browser signs nothing
    return Call(operation, members, scope["region"] if scope else DEFAULT_REGION, body)


def model_input(body: bytes) -> JsonObject:
    """
    InvokeModel's body.

    Raises:
        ValidationException: It is too long, or not a JSON object.
    """
    if len(body) > MAX_INVOKE_BYTES:
        raise ValidationException(f"Input is too long: {len(body)} bytes, the maximum is {MAX_INVOKE_BYTES}.")
    try:
        return _body(body)
    except SerializationException:
        raise ValidationException("Malformed input request, please reformat your input and try again.") from None


def job_id_of(identifier: Json, region: str) -> str:
    """
    The short id in a job's id or ARN.

    Raises:
        ValidationException: The ARN belongs to another region.
    """
    text = str(identifier)
    if text.startswith("arn:") and text.split(":")[3] != region:
        raise ValidationException(f"The provided ARN is not of the Region {region}.")
    return text.rsplit("/", 1)[-1]


def job_body(job: Job, operation: Operation) -> JsonObject:
    """A job as Get returns it, or List in its summaries."""
    counts = job.counts
    values: dict[str, Json] = {
        **job.request,
        "jobArn": job.arn,
        "status": job.status,
        "message": job.message,
        "submitTime": timestamp(job.submit_time),
        "lastModifiedTime": timestamp(job.modified_time),
        "endTime": None if job.end_time is None else timestamp(job.end_time),
        "jobExpirationTime": timestamp(job.expires),
        "timeoutDurationInHours": job.request.get("timeoutDurationInHours", 24),
        "modelInvocationType": job.invocation_type,
        "totalRecordCount": counts.total,
        "processedRecordCount": counts.processed,
        "successRecordCount": counts.success,
        "errorRecordCount": counts.error,
    }
    return {name: values[name] for name in _output_names(operation) if values.get(name) is not None}


def timestamp(seconds: float) -> str:
    """ISO-8601 with milliseconds and `Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """Seconds since the epoch of an ISO-8601 time; a time without an offset is UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _targeted(target: str) -> Operation:
    prefix, _, name = target.partition(".")
    for operation, spec in SPECS.items():
        if spec.service == "service-quotas" and (prefix, name) == (_TARGET, spec.name):
            return operation
    raise UnknownOperationException(f"No operation of this service is called {target}")


def _route(method: str, raw_path: str) -> tuple[Operation, JsonObject]:
    path = raw_path.rstrip("/")
    for verb, pattern, operation in _ROUTES:
        match = pattern.fullmatch(path)
        if match and verb == method:
            return operation, {name: unquote(value) for name, value in match.groupdict().items()}
    raise UnknownOperationException(f"No operation of this service answers {method} {raw_path}")


def _body(body: bytes) -> JsonObject:
    try:
        value = parse(body)
        dump(value).encode()  # fails on lone surrogates and infinite numbers, which could not be sent back
    except ValueError as error:
        raise SerializationException(f"The request body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SerializationException("The request body is not a JSON object")
    return value


def _header_members(operation: Operation, headers: Mapping[str, str]) -> JsonObject:
    members: JsonObject = {}
    for name, shape in shapes.input_members(operation).items():
        if shape.serialization.get("location") == "header":
            value = headers.get(shape.serialization["name"].lower())
            members |= {} if value is None else {name: value}
    return members


def _query(query: str, operation: Operation) -> JsonObject:
    readers: dict[str, Callable[[str], Json]] = {"integer": int, "timestamp": parse_time}
    members = shapes.input_members(operation)
    names = {str(shape.serialization.get("name", name)): name for name, shape in members.items()}
    request: JsonObject = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        name = names.get(key)
        if name is None:
            continue
        kind = members[name].type_name
        try:
            request[name] = readers[kind](text) if kind in readers else text
        except ValueError:
            raise SerializationException(f"'{text}' at '{name}' cannot be converted to {kind}") from None
    return request


@lru_cache(maxsize=2)
def _output_names(operation: Operation) -> list[str]:
    shape = cast("StructureShape", shapes.operation(operation).output_shape)
    if operation == "List":
        shape = cast("StructureShape", shapes.members(shape)["invocationJobSummaries"].member)  # pyright: ignore
    return list(shapes.members(shape))
