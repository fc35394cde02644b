"""Starts and stops an emulator: jobs, runner and HTTP server."""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn

from bedrock_assets.emulator.account import check_catalogue
from bedrock_assets.emulator.api import Api
from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.clock import Clock
from bedrock_assets.emulator.database import Database
from bedrock_assets.emulator.events import JobEvents
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.runner import Runner
from bedrock_assets.emulator.server import build_app
from bedrock_assets.emulator.settings import EmulatorSettings
from bedrock_assets.emulator.storage import Buckets
from bedrock_assets.emulator.tables import Invocations, InvocationTable

GRACE_S = 2
"""Seconds that unfinished answers (a long `latency_s`, a slow model) may take before the server stops."""


class Emulator:
    """An emulated Bedrock control plane, as a context manager; see the package's docstring."""

    def __init__(self, store: str, db: Path | None = None, **settings: Any) -> None:
        """
        Args:
            store: A folder with one folder per bucket, or `s3://` for real S3.
            db: SQLite file of the jobs, by default in the store's folder. Jobs in an existing file continue.
            settings: Other fields of `EmulatorSettings`; without `port`, a free one is taken.

        Raises:
            ValueError: A setting is unknown or out of bounds (also pydantic's ValidationError), or the catalogue of
                models cannot be read.
        """
        self._settings = chosen = EmulatorSettings.model_validate({"store": store, "db": db, "port": 0, **settings})
        check_catalogue()
        models = chosen.choose_models()
        chosen.database.parent.mkdir(parents=True, exist_ok=True)
        self._database = Database(chosen.database)
        self._invocations = InvocationTable(self._database)
        self.backend = Backend(self._database, Clock(chosen.speed, stepped=chosen.stepped), chosen)
        events = JobEvents(self._database, chosen.events_queue)
        self._runner = Runner(self.backend, Buckets(store), events, models)
        app = build_app(Api(self.backend, self._invocations, models), self.advance)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            lifespan="off",
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
            ws="none",
            **_http_protocols(),
        )
        self._server = uvicorn.Server(config)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def endpoint_url(self) -> str:
        """Value of `AWS_ENDPOINT_URL_BEDROCK` and `..._BEDROCK_RUNTIME`; known after the start."""
        if self._socket is None:
            raise RuntimeError("the emulator has no address yet; start it first")
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def bucket(self, name: str) -> Path:
        """
        The folder of a bucket, made if it is not there; its files are the objects.

        Raises:
            ValueError: The store is S3.
        """
        if self._settings.store.startswith("s3://"):
            raise ValueError(f"bucket {name} is in S3: make it there")
        folder = Path(self._settings.store) / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults of calls, and of jobs created from now on."""
        self.backend.faults = faults

    def advance(self, seconds: float, timeout_s: float = 60.0) -> None:
        """
        Advance the stepped clock, and wait until the jobs have done what is due.

        Args:
            seconds: Emulated seconds.
            timeout_s: Real seconds to wait at most.

        Raises:
            ValueError: The clock is not stepped, or *seconds* is negative.
            TimeoutError: The jobs did not catch up in time.
        """
        self.backend.clock.advance(seconds)
        self._runner.settle(timeout_s)

    def invocations(self) -> list[Invocations]:
        """InvokeModel and Converse calls that were answered, by operation and model."""
        return self._invocations.summary()

    def start(self) -> Self:
        """
        Begin to answer. Jobs that an earlier process left in flight continue.

        Raises:
            OSError: The address is taken.
        """
        address = (self._settings.host, self._settings.port)
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        try:
            self._socket = socket.create_server(address, family=family)
        except OSError:
            self._database.close()
            raise
        self._runner.start()
        # The socket listens already: calls that arrive before the server runs wait in its queue.
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="bedrock-emulator-http", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Finish open calls, then stop the server and the jobs."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._runner.stop()
        if self._socket is not None:
            self._socket.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _http_protocols() -> dict[str, Any]:
    """uvicorn's settings for HTTP/2 beside HTTP/1.1, where the parser that it takes for both is installed."""
    return {"http": "zttp", "http2": True} if find_spec("zttp") else {}


def serve(emulator: Emulator, on_start: Callable[[str], None] | None = None) -> None:
    """
    Run until SIGINT or SIGTERM. Call it from the main thread.

    Args:
        on_start: Called with the endpoint URL once calls are accepted.
    """
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    # A job in progress must not make callers wait long for the interpreter lock.
    sys.setswitchinterval(0.001)
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with emulator:
            if on_start is not None:
                on_start(emulator.endpoint_url)
            stopped.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
