"""The HTTP side: the AWS operations, a status page, a health check and the admin endpoints of tests."""

import asyncio
import logging
import uuid
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bedrock_assets.emulator import eventstream, page, wire
from bedrock_assets.emulator.api import Api
from bedrock_assets.emulator.exceptions import AWSError, InternalServerException
from bedrock_assets.emulator.faults import Faults

logger = logging.getLogger(__name__)

_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


class Step(BaseModel):
    """Body of `POST /admin/clock`."""

    model_config = ConfigDict(extra="forbid")

    advance_s: float = Field(ge=0)


def build_app(api: Api, advance: Callable[[float], None]) -> Starlette:
    """
    The emulator as an ASGI application; jobs move only while a runner works on the same backend.

    Args:
        advance: Advances the clock by so many seconds, or raises ValueError.
    """
    service = _Service(api, advance)
    return Starlette(
        routes=[
            Route("/", service.page),
            Route("/health", service.health),
            Route("/admin/faults", service.faults, methods=["GET", "PUT"]),
            Route("/admin/clock", service.clock, methods=["GET", "POST"]),
            Route("/admin/invocations", service.invocations),
            Route("/{path:path}", service.call, methods=_METHODS),
        ]
    )


class _Service:
    """
    Handlers run on the event loop, without threads: each takes well under a millisecond, and SQLite then has one
    connection for all of them. Only on-demand models answer in threads.
    """

    def __init__(self, api: Api, advance: Callable[[float], None]) -> None:
        self._api = api
        self._advance = advance

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def page(self, _: Request) -> Response:
        return HTMLResponse(page.render(self._api.backend, self._api.invocations.summary()))

    async def faults(self, request: Request) -> Response:
        """GET reads the faults, PUT replaces them; existing jobs keep theirs."""
        if request.method == "PUT":
            try:
                self._api.backend.faults = Faults.model_validate_json(await request.body())
            except ValidationError as error:
                return JSONResponse({"message": str(error)}, 400)
        return Response(self._api.backend.faults.model_dump_json(), media_type="application/json")

    async def clock(self, request: Request) -> Response:
        """GET reads the clock; POST `{"advance_s": 60}` advances a stepped one and waits for the jobs."""
        if request.method == "POST":
            try:
                step = Step.model_validate_json(await request.body())
                await asyncio.to_thread(self._advance, step.advance_s)
            except ValueError as error:
                return JSONResponse({"message": str(error)}, 400)
        clock = self._api.backend.clock
        return JSONResponse({"now": wire.timestamp(clock.now()), "speed": clock.speed, "stepped": clock.stepped})

    async def invocations(self, _: Request) -> Response:
        """What InvokeModel and Converse answered, by operation and model."""
        return JSONResponse({"invocations": [row.body() for row in self._api.invocations.summary()]})

    async def call(self, request: Request) -> Response:
        """Answer one call of the AWS API."""
        raw_path = bytes(request.scope["raw_path"]).decode("ascii", "replace")
        headers = {"x-amzn-RequestId": str(uuid.uuid4())}
        protocol = wire.protocol_of(request.headers)
        try:
            # uvicorn 0.54 with zttp 0.0.35 never tells the end of an HTTP/2 request that has no body.
            has_body = request.method != "GET" and request.headers.get("content-length") != "0"
            body = await request.body() if has_body else b""
            call = wire.read_call(request.method, raw_path, request.url.query, body, request.headers)
            answer = await self._api.answer(call)
        except AWSError as aws_error:
            error = aws_error
        except Exception:
            logger.exception("the emulator failed to answer %s %s", request.method, request.url.path)
            error = InternalServerException("Internal server error")
        else:
            if isinstance(answer.body, list):
                return StreamingResponse(iter(answer.body), 200, headers | answer.headers, eventstream.MEDIA_TYPE)
            return Response(answer.body, 200, headers | answer.headers, protocol.media_type)
        name, http_status, body = protocol.error(error)
        return JSONResponse(body, http_status, headers | {"x-amzn-ErrorType": name})
