"""Starts and stops the whole: jobs, runner and HTTP server."""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from bedrock_assets.emulator.api import Api
from bedrock_assets.emulator.backend import Backend, QuotaMode, Rules
from bedrock_assets.emulator.clock import Clock, SteppedClock
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.httpserver import HttpServer
from bedrock_assets.emulator.invocations import Invocations, InvocationTable
from bedrock_assets.emulator.ondemand import OnDemand
from bedrock_assets.emulator.replies import RULES, Models
from bedrock_assets.emulator.runner import Runner
from bedrock_assets.emulator.server import build_app
from bedrock_assets.emulator.sqlite import Database
from bedrock_assets.emulator.storage import Buckets
from bedrock_assets.limits import JobLimits

START_TIMEOUT_S = 10.0


class Emulator:
    """An emulated Bedrock control plane, as a context manager; see the package's docstring."""

    def __init__(  # noqa: PLR0913, PLR0917 - the settings of a service, all but two with a default
        self,
        store: str,
        db: Path,
        port: int = 0,
        host: str = "127.0.0.1",
        speed: float = 1.0,
        limits: JobLimits | None = None,
        quota_mode: QuotaMode = "refuse",
        faults: Faults | None = None,
        *,
        reuse_names: bool = False,
        stepped: bool = False,
        models: Models = RULES,
    ) -> None:
        """
        Args:
            store: A directory with one folder per bucket, or `s3://` for real S3.
            db: SQLite file of the jobs; a file that exists is taken up again.
            port: 0 takes a free one.
            speed: Emulated seconds per real second.
            limits: Quotas of the account; `max_jobs` counts per model and Region.
            quota_mode: Whether Create refuses a job over the quota or lets it wait as Submitted.
            faults: What goes wrong.
            reuse_names: Whether the name of an ended job is free again.
            models: Who answers; see `bedrock_assets.emulator.replies`.
            stepped: The clock stands still but for `advance`; *speed* is not looked at then.
        """
        self._address = (host, port)
        self._database = Database(db)
        self._invocations = InvocationTable(self._database)
        rules = Rules(limits or JobLimits.model_validate({}), quota_mode, reuse_names)
        clock = SteppedClock() if stepped else Clock(speed)
        self.backend = Backend(self._database, clock, rules, faults or Faults())
        self._runner = Runner(self.backend, Buckets(store), models)
        self._server = HttpServer(build_app(Api(self.backend, OnDemand(self._invocations, models)), self.advance))
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def endpoint_url(self) -> str:
        """What `AWS_ENDPOINT_URL_BEDROCK` and `..._BEDROCK_RUNTIME` have to be; known once it has started."""
        if self._socket is None:
            raise RuntimeError("the emulator has no address before it is entered")
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults of calls, and of jobs created from now on."""
        self.backend.faults = faults

    def advance(self, seconds: float, timeout_s: float = 60.0) -> None:
        """
        Let the stepped clock's time pass, and wait until the jobs have done what is due by then.

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
        Begin to answer; jobs that an earlier process left in flight go on.

        Raises:
            OSError: The address is taken.
        """
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        try:
            self._socket = socket.create_server(self._address, family=family)
        except OSError:
            self._database.close()
            raise
        self._runner.start()
        self._thread = self._server.start(self._socket)
        return self

    def close(self) -> None:
        """Stop answering and stop the jobs' clockwork; calls under way are finished."""
        self._server.end()
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


def serve(emulator: Emulator, on_start: Callable[[str], None] | None = None) -> None:
    """
    Run until SIGINT or SIGTERM; call it from the main thread.

    Args:
        on_start: Told the endpoint URL once requests are accepted.
    """
    ended = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        ended.set()

    # a job under way must not make callers wait for their turn at the interpreter lock
    sys.setswitchinterval(0.001)
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with emulator:
            if on_start is not None:
                on_start(emulator.endpoint_url)
            ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
