"""A small server that speaks OpenAI's protocol over HTTP, and says what the test wants it to say."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bedrock_assets.emulator.replies import Endpoint

Reply = tuple[int, dict[str, Any]]


@dataclass
class Server:
    """An OpenAI-compatible server whose answers the test decides."""

    url: str
    requests: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list)
    """Path, body and Authorization header of each request."""
    answer: Callable[[str, dict[str, Any]], Reply] = lambda _, __: (500, {})
    """From path and body to the HTTP code and the body that comes back."""
    at_once: int = 0
    most_at_once: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def endpoint(self, **settings: Any) -> Endpoint:
        """The endpoint under test."""
        return Endpoint(self.url, "tiny", wait_s=0.01, **settings)


class Handler(BaseHTTPRequestHandler):
    """Passes requests to the server of the test."""

    protocol_version = "HTTP/1.1"

    def __init__(self, server: Server, *args: Any) -> None:
        self.test = server
        super().__init__(*args)

    def do_POST(self) -> None:
        """Answer as the test says."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        test = self.test
        with test.lock:
            test.at_once += 1
            test.most_at_once = max(test.at_once, test.most_at_once)
            test.requests.append((self.path, body, self.headers.get("Authorization")))
        code, answer = test.answer(self.path, body)
        with test.lock:
            test.at_once -= 1
        text = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:  # type: ignore[override]
        """Say nothing."""


@contextmanager
def openai_server() -> Iterator[Server]:
    """A server on a free port."""
    test = Server("")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, test)) as http_server:
        test.url = f"http://127.0.0.1:{http_server.server_address[1]}/v1"
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield test
        http_server.shutdown()
        thread.join()
