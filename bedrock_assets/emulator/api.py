"""Answers a call once it is read: a fault strikes it, or its operation answers it."""

import asyncio
from collections.abc import Callable
from itertools import count

from bedrock_assets.emulator import account, exceptions, quotas, wire
from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.exceptions import AWSError, InternalServerException
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.jsontypes import JsonObject, dump
from bedrock_assets.emulator.listing import Listing
from bedrock_assets.emulator.on_demand import Answer, OnDemand
from bedrock_assets.emulator.operations import Operation
from bedrock_assets.emulator.refusals import refusal
from bedrock_assets.emulator.replies import Models
from bedrock_assets.emulator.tables import InvocationTable
from bedrock_assets.emulator.wire import Call
from bedrock_assets.limits import JobLimits

_EFFECTIVE: tuple[Operation, ...] = (
    *("Create", "InvokeModel", "Converse"),
    *("InvokeModelWithResponseStream", "ConverseStream"),
)
"""Operations whose effect outlives a lost response."""


class Api:
    """Answers the calls of all emulated operations."""

    def __init__(self, backend: Backend, invocations: InvocationTable, models: Models) -> None:
        self.backend = backend
        self.invocations = invocations
        self._on_demand = on_demand = OnDemand(invocations, models)
        self._numbers = count()
        limits, defaults = backend.limits, JobLimits.model_validate({})
        self._handlers: dict[Operation, Callable[[JsonObject, str], JsonObject | str]] = {
            "Create": lambda members, region: {"jobArn": backend.create(members, region).arn},
            "Get": self._get,
            "List": Listing(backend.table).page,
            "Stop": self._stop,
            "CountTokens": lambda members, _: on_demand.count_tokens(members),
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": lambda members, region: {"tags": backend.tags.of(self._tagged(members, region))},
            "ListFoundationModels": lambda query, region: account.foundation_models(region, query),
            "GetFoundationModel": lambda members, region: account.foundation_model(
                str(members["modelIdentifier"]), region
            ),
            "ListInferenceProfiles": lambda query, region: account.inference_profiles(region, query),
            "GetInferenceProfile": lambda members, region: account.inference_profile(
                str(members["inferenceProfileIdentifier"]), region
            ),
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
            answer = await self._on_demand.answer(call, faults, number)
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
