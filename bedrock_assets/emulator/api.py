"""
Answers a call once it is read: a fault strikes it, or its operation answers it.

InvokeModel and Converse are answered by the same functions as batch records. An answer is counted before it is sent,
as the real service bills it before the caller has it.
"""

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count

from bedrock_assets.emulator import account, exceptions, quotas, wire
from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.exceptions import AWSError, InternalServerException, ValidationException
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_object, as_str, dump
from bedrock_assets.emulator.listing import Listing
from bedrock_assets.emulator.operations import Operation
from bedrock_assets.emulator.refusals import refusal
from bedrock_assets.emulator.replies import Models, RecordError, Reply, on_demand_function
from bedrock_assets.emulator.tables import InvocationTable
from bedrock_assets.emulator.wire import Call
from bedrock_assets.limits import JobLimits

_EFFECTIVE: tuple[Operation, ...] = ("Create", "InvokeModel", "Converse")
"""Operations whose effect outlives a lost response."""

_ERRORS: dict[str, type[AWSError]] = {
    "400": exceptions.ValidationException,
    "403": exceptions.AccessDeniedException,
    "404": exceptions.ResourceNotFoundException,
    "408": exceptions.ModelTimeoutException,
    "424": exceptions.ModelErrorException,
    "429": exceptions.ThrottlingException,
    "503": exceptions.ServiceUnavailableException,
}
"""Error on demand for a batch record's `errorCode`; any other code is InternalServerException."""

_NOT_SUPPORTED = (
    "This action doesn't support the model that you provided. Try again with a supported text or chat model."
)


_COUNTS_TOKENS = re.compile(r"(arn:[^:]+:bedrock:[^:]*::foundation-model/)?anthropic\..+")
"""Models that count tokens: Claude, by the id of the foundation model and not by an inference profile's (field reports,
2026)."""


_TIERED = re.compile(r"gpt-oss|qwen3|deepseek\.v3|nova-pro")
"""Models with the tiers flex and priority (Amazon Bedrock user guide, 2026-11)."""


@dataclass(frozen=True)
class Answer:
    """A response: its JSON body and its headers."""

    body: str
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Api:
    """Answers the calls of all emulated operations."""

    def __init__(self, backend: Backend, invocations: InvocationTable, models: Models) -> None:
        self.backend = backend
        self.invocations = invocations
        self._models = models
        self._numbers = count()
        limits, defaults = backend.limits, JobLimits.model_validate({})
        self._handlers: dict[Operation, Callable[[JsonObject, str], JsonObject | str]] = {
            "Create": lambda members, region: {"jobArn": backend.create(members, region).arn},
            "Get": self._get,
            "List": Listing(backend.table).page,
            "Stop": self._stop,
            "CountTokens": lambda members, _: _count_tokens(members, models),
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": lambda members, region: {"tags": backend.tags.of(self._tagged(members, region))},
            "ListFoundationModels": lambda _, region: account.foundation_models(region),
            "GetFoundationModel": lambda members, region: account.foundation_model(
                str(members["modelIdentifier"]), region
            ),
            "ListInferenceProfiles": lambda _, region: account.inference_profiles(region),
            "ListServiceQuotas": lambda query, region: quotas.quota_page(limits, region, query),
            "ListAWSDefaultServiceQuotas": lambda query, region: quotas.quota_page(defaults, region, query),
            "GetServiceQuota": lambda query, region: quotas.one_quota(limits, region, query),
            "GetAWSDefaultServiceQuota": lambda query, region: quotas.one_quota(defaults, region, query),
        }

    async def answer(self, call: Call) -> Answer:
        """
        Answer a call.

        Raises:
            AWSError: The operation refuses the call, or a fault strikes it.
        """
        strikes = self.backend.faults.strikes_call(call.operation, call.members)
        faults = self.backend.faults if strikes else Faults()
        number = next(self._numbers)
        await asyncio.sleep(faults.latency_s)
        _strike_call(faults, number, call.operation)
        handler = self._handlers.get(call.operation)
        if handler is None:
            answer = await self._on_demand(call, faults, number)
        else:
            body = handler(call.checked(), call.region)
            answer = Answer(body if isinstance(body, str) else dump(body))
        if call.operation in _EFFECTIVE and faults.hits(faults.lost_response_rate, "lost", number):
            raise InternalServerException("Internal server error")
        return answer

    def _get(self, members: JsonObject, region: str) -> JsonObject:
        return wire.job_body(self.backend.get(wire.job_id_of(members["jobIdentifier"], region), region), "Get")

    def _stop(self, members: JsonObject, region: str) -> JsonObject:
        self.backend.stop(wire.job_id_of(members["jobIdentifier"], region), region)
        return {}

    def _tag(self, members: JsonObject, region: str) -> JsonObject:
        with self.backend.transaction():
            self.backend.tags.put(self._tagged(members, region), members["tags"])
        return {}

    def _untag(self, members: JsonObject, region: str) -> JsonObject:
        self.backend.tags.remove(self._tagged(members, region), members["tagKeys"])
        return {}

    def _tagged(self, members: JsonObject, region: str) -> str:
        """Id of the job that a resourceARN names."""
        return self.backend.get(wire.job_id_of(members["resourceARN"], region), region).job_id

    async def _on_demand(self, call: Call, faults: Faults, number: int) -> Answer:
        members = call.checked()
        model_id = str(members.pop("modelId"))
        tier = _tier(model_id, members.pop("serviceTier", None))
        request = wire.model_input(call.payload) if call.operation == "InvokeModel" else members
        digest = blake2b(dump(request).encode(), digest_size=16).digest()
        _strike_invocation(faults, number, model_id, digest)
        started = time.perf_counter()
        reply = await self._reply(call.operation, model_id, request)
        latency_ms = round((time.perf_counter() - started) * 1000)
        self.invocations.count(call.operation, model_id, digest, (reply.input_tokens, reply.output_tokens))
        if call.operation == "Converse":
            told: JsonObject = {"metrics": {"latencyMs": latency_ms}, "serviceTier": {"type": tier}}
            return Answer(dump({**json.loads(reply.body), **told}))
        headers = {
            "x-amzn-bedrock-invocation-latency": str(latency_ms),
            "x-amzn-bedrock-input-token-count": str(reply.input_tokens),
            "x-amzn-bedrock-output-token-count": str(reply.output_tokens),
            "x-amzn-bedrock-service-tier": tier,
        }
        return Answer(reply.body, headers)

    async def _reply(self, operation: str, model_id: str, request: JsonObject) -> Reply:
        function = on_demand_function(model_id, operation, self._models)
        if function is None:
            is_known = on_demand_function(model_id, "InvokeModel") is not None
            raise ValidationException(_NOT_SUPPORTED if is_known else "The provided model identifier is invalid.")
        try:
            return await asyncio.to_thread(function, request, model_id)
        except RecordError as refused:
            raise _error(refused.code, refused.message) from None


def _tier(model_id: str, asked: Json) -> str:
    """
    The service tier that a call asks for: a header of InvokeModel, a structure of Converse.

    Raises:
        ValidationException: The model does not have it.
    """
    tier = as_str(as_object(asked).get("type")) if isinstance(asked, dict) else as_str(asked)
    if tier in ("flex", "priority") and not _TIERED.search(model_id):
        raise ValidationException("The provided service tier is not supported for this model.")
    return tier or "default"


def _count_tokens(members: JsonObject, models: Models) -> JsonObject:
    """The tokens that the same request would be billed; free, and not counted as a call to the model."""
    model_id, (kind, request) = str(members["modelId"]), next(iter(as_object(members["input"]).items()))
    if not _COUNTS_TOKENS.fullmatch(model_id):
        raise ValidationException("The provided model doesn't support counting tokens.")
    if kind == "invokeModel":
        try:
            body = wire.model_input(base64.b64decode(as_str(as_object(request)["body"]), validate=True))
        except binascii.Error:
            raise exceptions.SerializationException("'body' is not base64") from None
    else:
        body = as_object(request)
    function = on_demand_function(model_id, "Converse" if kind == "converse" else "InvokeModel", models)
    if function is None:
        raise ValidationException("The provided model identifier is invalid.")
    try:
        return {"inputTokens": function(body, model_id).input_tokens}
    except RecordError as refused:
        raise _error(refused.code, refused.message) from None


def _strike_call(faults: Faults, number: int, operation: Operation) -> None:
    if operation == "Create" and faults.create_refusal is not None:
        raise refusal(faults.create_refusal)
    if faults.refusal_message is not None:
        error: type[AWSError] = getattr(exceptions, faults.refusal)
        raise error(faults.refusal_message)
    if faults.access_denied:
        raise exceptions.AccessDeniedException("User is not authorized to perform this action.")
    if faults.hits(faults.throttle_rate, "throttle", number):
        raise exceptions.ThrottlingException("Too many requests, please wait before trying again.")
    if faults.hits(faults.server_error_rate, "server error", number):
        raise InternalServerException("Internal server error")


def _strike_invocation(faults: Faults, number: int, model_id: str, digest: bytes) -> None:
    if faults.hits(faults.model_error_rate, "model error", number):
        error: type[AWSError] = getattr(exceptions, faults.model_error)
        raise error(f"The model could not answer in time or at all: {faults.model_error}.")
    record_error = faults.record_error(model_id, digest.hex(), call=number)
    if record_error is not None:
        raise _error(record_error.code, record_error.message)


def _error(code: int | str, message: str) -> AWSError:
    return _ERRORS.get(str(code), InternalServerException)(message)
