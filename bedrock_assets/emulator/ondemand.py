"""
On demand: InvokeModel and Converse, answered by the same functions as batch records.

An answer is counted before it is sent, as the real service bills it before the caller has it.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from hashlib import blake2b

from bedrock_assets.emulator import exceptions
from bedrock_assets.emulator.exceptions import AWSError, ValidationException
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.jsontypes import JsonObject, dump
from bedrock_assets.emulator.replies import RULES, Models, RecordError, Reply, on_demand_function
from bedrock_assets.emulator.tables import InvocationTable
from bedrock_assets.emulator.wire import Call, model_input

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


@dataclass(frozen=True)
class Answer:
    """What goes back over the wire."""

    body: str
    headers: dict[str, str]


class OnDemand:
    """Answers InvokeModel and Converse, and counts what it answered."""

    def __init__(self, invocations: InvocationTable, models: Models = RULES) -> None:
        self.invocations = invocations
        self._models = models

    async def answer(self, call: Call, faults: Faults, number: int) -> Answer:
        """
        Answer one call.

        Args:
            faults: Faults that apply to this call.
            number: Number of the call since the start; it decides which calls transient faults strike.

        Raises:
            AWSError: The model refuses the request, or a fault strikes it.
        """
        members = call.checked()
        model_id = str(members.pop("modelId"))
        request = model_input(call.payload) if call.operation == "InvokeModel" else members
        digest = blake2b(dump(request).encode(), digest_size=16).digest()
        _strike(faults, number, model_id, digest)
        started = time.perf_counter()
        reply = await self._reply(call.operation, model_id, request)
        latency_ms = round((time.perf_counter() - started) * 1000)
        self.invocations.count(call.operation, model_id, digest, (reply.input_tokens, reply.output_tokens))
        return (
            _converse_answer(reply, latency_ms) if call.operation == "Converse" else _invoke_answer(reply, latency_ms)
        )

    async def _reply(self, operation: str, model_id: str, request: JsonObject) -> Reply:
        function = on_demand_function(model_id, operation, self._models)
        if function is None:
            known = on_demand_function(model_id, "InvokeModel") is not None
            raise ValidationException(_NOT_SUPPORTED if known else "The provided model identifier is invalid.")
        try:
            return await asyncio.to_thread(function, request, model_id)
        except RecordError as refusal:
            raise _error(refusal.code, refusal.message) from None


def _strike(faults: Faults, number: int, model_id: str, digest: bytes) -> None:
    if faults.hits(faults.model_error_rate, "model error", number):
        error: type[AWSError] = getattr(exceptions, faults.model_error)
        raise error(f"The model could not answer in time or at all: {faults.model_error}.")
    record_error = faults.record_error(model_id, digest.hex(), call=number)
    if record_error is not None:
        raise _error(record_error.code, record_error.message)


def _error(code: int | str, message: str) -> AWSError:
    return _ERRORS.get(str(code), exceptions.InternalServerException)(message)


def _invoke_answer(reply: Reply, latency_ms: int) -> Answer:
    headers = {
        "x-amzn-bedrock-invocation-latency": str(latency_ms),
        "x-amzn-bedrock-input-token-count": str(reply.input_tokens),
        "x-amzn-bedrock-output-token-count": str(reply.output_tokens),
    }
    return Answer(reply.body, headers)


def _converse_answer(reply: Reply, latency_ms: int) -> Answer:
    body: JsonObject = json.loads(reply.body)
    return Answer(dump({**body, "metrics": {"latencyMs": latency_ms}}), {})
