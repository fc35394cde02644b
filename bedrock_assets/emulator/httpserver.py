"""uvicorn in a thread, ended within some milliseconds: tests start and end emulators by the hundred."""

import asyncio
import socket
import threading
import time
from contextlib import suppress

import uvicorn
from starlette.applications import Starlette

TICK_S = 0.1
"""Seconds between two ticks, on which uvicorn renews the Date header."""

DRAIN_S = 0.005
"""Seconds between two looks whether the answers under way have been sent."""

GRACE_S = 2.0
"""Seconds after which answers that are still under way (a long `latency_s`, a slow model) are given up."""


class HttpServer(uvicorn.Server):
    """Answers on a socket until `end`; answers that are under way are finished, if they do not take long."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, log_level="warning", lifespan="off", access_log=False))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    def start(self, listener: socket.socket) -> threading.Thread:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self.run, args=([listener],), name="bedrock-emulator-http", daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        """Ask the server to end, from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ended.set)

    async def main_loop(self) -> None:
        """Tick until the end; uvicorn's own loop would see it a tick later."""
        self._loop = asyncio.get_running_loop()
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close idle connections at once and the others after their answer; uvicorn's own waits a fixed time."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = time.monotonic() + GRACE_S
        while self.server_state.connections or self.server_state.tasks:
            if time.monotonic() > deadline:
                for task in self.server_state.tasks:
                    task.cancel()
                return
            await asyncio.sleep(DRAIN_S)
