"""
InvokeModel and Converse, whole or as streams, and CountTokens: answered by the same functions as batch records.

An answer is counted before it is sent, as the real service bills it before the caller has it.
"""

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from bedrock_assets.emulator import eventstream, exceptions, wire
from bedrock_assets.emulator.exceptions import AWSError, InternalServerException, ValidationException
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_object, as_str, dump
from bedrock_assets.emulator.operations import Operation
from bedrock_assets.emulator.replies import Models, RecordError, Reply, on_demand_function
from bedrock_assets.emulator.replies.faulty import faulty
from bedrock_assets.emulator.replies.streams import Event, converse_events, invoke_chunks
from bedrock_assets.emulator.tables import InvocationTable
from bedrock_assets.emulator.wire import Call

_STREAMED: tuple[Operation, ...] = ("InvokeModelWithResponseStream", "ConverseStream")

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
    """A response: its body, which is JSON or the messages of an event stream, and its headers."""

    body: str | list[bytes]
    headers: dict[str, str] = field(default_factory=dict[str, str])


class OnDemand:
    """Answers the calls that a model answers at once."""

    def __init__(self, invocations: InvocationTable, models: Models) -> None:
        self._invocations = invocations
        self._models = models

    async def answer(self, call: Call, faults: Faults, number: int) -> Answer:
        """
        Answer a call.

        Args:
            faults: Those that strike it.
            number: Of the call, by which faults are drawn.

        Raises:
            AWSError: The model or the service refuses the call, or a fault strikes it.
        """
        members = call.checked()
        model_id = str(members.pop("modelId"))
        tier = _tier(model_id, members.pop("serviceTier", None))
        request = wire.model_input(call.payload) if call.operation.startswith("InvokeModel") else members
        digest = blake2b(dump(request).encode(), digest_size=16).digest()
        _strike_invocation(faults, number, model_id, digest)
        started = time.perf_counter()
        reply = await self._reply(call.operation, model_id, request)
        latency_ms = round((time.perf_counter() - started) * 1000)
        fault = faults.answer_fault(model_id, digest.hex())
        if fault == "error_object" and call.operation.startswith("Converse"):
            raise exceptions.ModelErrorException("The model answered with an error.")
        reply = faulty(reply, fault, faults.token_counts)
        breaks = faults.hits(faults.stream_error_rate, "stream", number)
        answer = _answer(call.operation, reply, tier, latency_ms, breaks=breaks)
        self._invocations.count(call.operation, model_id, digest, (reply.input_tokens, reply.output_tokens))
        return answer

    def count_tokens(self, members: JsonObject) -> JsonObject:
        """
        The response of CountTokens: what the same request would be billed. It is free, and not counted as a call.

        Raises:
            AWSError: The model does not count tokens, or refuses the request.
        """
        return _count_tokens(members, self._models)

    async def _reply(self, operation: str, model_id: str, request: JsonObject) -> Reply:
        function = on_demand_function(model_id, operation.removesuffix("Stream"), self._models)
        if function is None:
            is_known = on_demand_function(model_id, "InvokeModel") is not None
            raise ValidationException(_NOT_SUPPORTED if is_known else "The provided model identifier is invalid.")
        try:
            return await asyncio.to_thread(function, request, model_id)
        except RecordError as refused:
            raise _error(refused.code, refused.message) from None


def _answer(operation: Operation, reply: Reply, tier: str, latency_ms: int, *, breaks: bool) -> Answer:
    if operation.startswith("Converse"):
        told: JsonObject = {"metrics": {"latencyMs": latency_ms}, "serviceTier": {"type": tier}}
        body: JsonObject = {**json.loads(reply.body), **told}
        return Answer(_stream(converse_events(body), breaks=breaks) if operation in _STREAMED else dump(body))
    if operation in _STREAMED:
        chunks = map(_chunk, _measured(list(invoke_chunks(json.loads(reply.body))), reply, latency_ms))
        headers = {"x-amzn-bedrock-content-type": "application/json", "x-amzn-bedrock-service-tier": tier}
        return Answer(_stream(chunks, breaks=breaks), headers)
    headers = {
        "x-amzn-bedrock-invocation-latency": str(latency_ms),
        "x-amzn-bedrock-input-token-count": str(reply.input_tokens),
        "x-amzn-bedrock-output-token-count": str(reply.output_tokens),
        "x-amzn-bedrock-service-tier": tier,
    }
    return Answer(reply.body, headers)


def _stream(events: Iterable[Event], *, breaks: bool) -> list[bytes]:
    """The messages of a stream; with *breaks* it ends in the middle."""
    messages = [eventstream.event(name, payload) for name, payload in events]
    if not breaks:
        return messages
    broken = eventstream.exception("modelStreamErrorException", "The model failed while it answered.")
    return [*messages[: len(messages) // 2], broken]


def _measured(chunks: list[JsonObject], reply: Reply, latency_ms: int) -> list[JsonObject]:
    """The chunks, of which the last tells what the call took."""
    metrics: JsonObject = {
        "inputTokenCount": reply.input_tokens,
        "outputTokenCount": reply.output_tokens,
        "invocationLatency": latency_ms,
        "firstByteLatency": latency_ms,
    }
    return [*chunks[:-1], {**chunks[-1], "amazon-bedrock-invocationMetrics": metrics}]


def _chunk(body: JsonObject) -> Event:
    return "chunk", {"bytes": base64.b64encode(dump(body).encode("utf-8", "replace")).decode()}


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


def _strike_invocation(faults: Faults, number: int, model_id: str, digest: bytes) -> None:
    if faults.hits(faults.model_error_rate, "model error", number):
        error: type[AWSError] = getattr(exceptions, faults.model_error)
        raise error(f"The model could not answer in time or at all: {faults.model_error}.")
    record_error = faults.record_error(model_id, digest.hex(), call=number)
    if record_error is not None:
        raise _error(record_error.code, record_error.message)


def _error(code: int | str, message: str) -> AWSError:
    return _ERRORS.get(str(code), InternalServerException)(message)
