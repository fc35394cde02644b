"""The HTTP side: the operations, a status page, a health check and the knobs of tests."""

import asyncio
import logging
import uuid
from itertools import count

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from bedrock_assets.emulator import page, wire
from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.exceptions import (
    AccessDeniedException,
    AWSError,
    InternalServerException,
    ThrottlingException,
    UnknownOperationException,
)
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.jsontypes import JsonObject, dump
from bedrock_assets.emulator.ondemand import Answer, OnDemand
from bedrock_assets.emulator.operations import Operation

logger = logging.getLogger(__name__)

_EFFECTIVE: tuple[Operation, ...] = ("Create", "InvokeModel", "Converse")
"""Operations whose effect outlives a lost response."""

_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


def build_app(backend: Backend, on_demand: OnDemand) -> Starlette:
    """The emulator as an ASGI application; the jobs move only while a runner works on the same backend."""
    service = _Service(backend, on_demand)
    return Starlette(
        routes=[
            Route("/", service.page),
            Route("/health", service.health),
            Route("/admin/faults", service.faults, methods=["GET", "PUT"]),
            Route("/admin/invocations", service.invocations),
            Route("/{path:path}", service.call, methods=_METHODS),
        ]
    )


class _Service:
    """
    Handlers run on the event loop, without a thread pool: each takes well under a millisecond, and the loop
    gives SQLite the single connection it likes.
    """

    def __init__(self, backend: Backend, on_demand: OnDemand) -> None:
        self._backend = backend
        self._on_demand = on_demand
        self._numbers = count()

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def page(self, _: Request) -> Response:
        return HTMLResponse(page.render(self._backend))

    async def faults(self, request: Request) -> Response:
        """Read the faults with GET, replace them with PUT; jobs that exist keep theirs."""
        if request.method == "PUT":
            try:
                self._backend.faults = Faults.model_validate_json(await request.body())
            except ValidationError as error:
                return JSONResponse({"message": str(error)}, 400)
        return Response(self._backend.faults.model_dump_json(), media_type="application/json")

    async def invocations(self, _: Request) -> Response:
        """What the on-demand lane has answered, by operation and model."""
        return JSONResponse({"invocations": [found.body() for found in self._on_demand.invocations.summary()]})

    async def call(self, request: Request) -> Response:
        """Answer one call of the AWS API."""
        request_id = {"x-amzn-RequestId": str(uuid.uuid4())}
        try:
            answer = await self._answer(request, await request.body())
        except AWSError as error:
            kind = {"x-amzn-ErrorType": type(error).__name__}
            return JSONResponse({"message": error.message}, error.http_status, request_id | kind)
        except Exception:
            logger.exception("the emulator failed to answer %s %s", request.method, request.url.path)
            kind = {"x-amzn-ErrorType": "InternalServerException"}
            return JSONResponse({"message": "Internal server error"}, 500, request_id | kind)
        return Response(answer.body, 200, request_id | answer.headers, "application/json")

    async def _answer(self, request: Request, body: bytes) -> Answer:
        raw_path = bytes(request.scope["raw_path"]).decode("ascii", "replace")
        call = wire.read_call(request.method, raw_path, request.url.query, body, request.headers)
        struck = self._backend.faults.strikes_call(call.operation, call.members)
        faults = self._backend.faults if struck else Faults()
        number = next(self._numbers)
        await asyncio.sleep(faults.latency_s)
        _refuse(faults, number)
        if call.operation in ("InvokeModel", "Converse"):
            answer = await self._on_demand.answer(call, faults, number)
        else:
            answer = Answer(dump(self._perform(call)), {})
        if call.operation in _EFFECTIVE and faults.hits(faults.lost_response_rate, "lost", number):
            raise InternalServerException("Internal server error")
        return answer

    def _perform(self, call: wire.Call) -> JsonObject:
        backend, members = self._backend, call.checked()
        match call.operation:
            case "Create":
                return {"jobArn": backend.create(members, call.region).arn}
            case "Get":
                return wire.job_body(backend.get(wire.job_id_of(members, call.region), call.region), "Get")
            case "List":
                jobs, token = backend.list_jobs(members, call.region)
                summaries: JsonObject = {"invocationJobSummaries": [wire.job_body(job, "List") for job in jobs]}
                return summaries | ({"nextToken": token} if token else {})
            case "Stop":
                backend.stop(wire.job_id_of(members, call.region), call.region)
                return {}
            case _:
                raise UnknownOperationException(call.operation)


def _refuse(faults: Faults, number: int) -> None:
    if faults.access_denied:
        raise AccessDeniedException("User is not authorized to perform this action.")
    if faults.hits(faults.throttle_rate, "throttle", number):
        raise ThrottlingException("Too many requests, please wait before trying again.")
    if faults.hits(faults.server_error_rate, "server error", number):
        raise InternalServerException("Internal server error")
