"""Where credentials come from and what becomes of them: endpoints that hand out short-lived ones, a door that looks."""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

ROTATED = {f"rotated-{i}": f"secret of {i}" for i in range(60)}
"""Access keys that are handed out in turn, with their secrets."""
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}
LENGTHS = {"content-length", "transfer-encoding"}


@dataclass
class Issuer:
    """Hands out the next key whenever it is asked, each for *life_s* seconds."""

    life_s: float
    issued: dict[str, datetime] = field(default_factory=dict)
    """Keys and when they expire."""
    _left: Iterator[str] = field(default_factory=lambda: iter(ROTATED))
    _lock: Lock = field(default_factory=Lock)

    def next(self) -> tuple[str, str, datetime]:
        """Key, secret, expiry."""
        with self._lock:
            key = next(self._left)
            self.issued[key] = datetime.now(UTC) + timedelta(seconds=self.life_s)
            return key, ROTATED[key], self.issued[key]

    def is_expired(self, key: str) -> bool:
        """Whether a key that was handed out is over."""
        return key in self.issued and self.issued[key] < datetime.now(UTC)


class Quiet(BaseHTTPRequestHandler):
    """A handler that answers and logs nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer whole; to HEAD without its body."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Endpoints(Quiet):
    """Hands out credentials as a container's agent, SSO's portal and an instance's metadata service do."""

    issuer: ClassVar[Issuer]

    def do_PUT(self) -> None:
        """The metadata service's session token."""
        self.answer(200, b"token", {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": "21600"})

    def do_GET(self) -> None:
        """Credentials, in the form of who is asked."""
        if self.path.endswith("/security-credentials/"):
            self.answer(200, b"role")
            return
        key, secret, expires = self.issuer.next()
        # Without a token, as the server behind the door knows none.
        told: dict[str, Any] = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": "", "Code": "Success"}
        told["Expiration"] = expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if self.path.startswith("/federation/credentials"):
            milliseconds = int(expires.timestamp() * 1000)
            sso = {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": "", "expiration": milliseconds}
            told = {"roleCredentials": sso}
        self.answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})


class Door(Quiet):
    """Stands before an S3 server: notes who calls, and refuses expired keys as AWS does."""

    behind: ClassVar[str]
    issuer: ClassVar[Issuer]
    callers: ClassVar[list[tuple[str, str]]]
    """Access keys and user agents of the calls that were let in."""
    refuses_parts: ClassVar[bool]
    """Whether parts of files are refused, for good."""
    owner: ClassVar[str] = "123456789012"
    """Account that all buckets are of."""

    def do_GET(self) -> None:
        """Let a call in."""
        key = (re.findall(r"Credential=([^/]+)/", self.headers.get("Authorization", "")) or ["nobody"])[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("x-amz-expected-bucket-owner", self.owner) != self.owner:
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
            return
        if self.refuses_parts and "partNumber=" in self.path:
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>No parts.</Message></Error>")
            return
        if self.issuer.is_expired(key):
            message = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
            self.answer(400, message.encode())
            return
        self.callers.append((key, self.headers.get("User-Agent", "")))
        connection = HTTPConnection(urlsplit(self.behind).netloc, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            found = connection.getresponse()
            length = found.getheader("Content-Length") if self.command == "HEAD" else None
            headers = {name: value for name, value in found.getheaders() if name.lower() not in HOP_BY_HOP | LENGTHS}
            self.answer(found.status, found.read(), headers | ({"Content-Length": length} if length else {}))
        finally:
            connection.close()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - the base class's names


@contextmanager
def serve(handler: type[Quiet]) -> Generator[str]:
    """A server of a handler on loopback: its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Region:
    """A door before an S3 server, and endpoints that hand out credentials for it."""

    issuer: Issuer
    door_url: str
    endpoints_url: str
    callers: list[tuple[str, str]]
    door: type[Door]

    def refuse_parts(self) -> None:
        """From now on no part of a file is let in."""
        self.door.refuses_parts = True

    @property
    def keys(self) -> list[str]:
        """Who was let in, in order, each once in a row."""
        keys = [key for key, _agent in self.callers]
        return [key for i, key in enumerate(keys) if i == 0 or keys[i - 1] != key]


@contextmanager
def open_place(behind: str, life_s: float = 3600) -> Generator[Region]:
    """A place before the S3 server at *behind*, whose credentials last *life_s* seconds."""
    issuer, callers = Issuer(life_s), list[tuple[str, str]]()
    door = type("ADoor", (Door,), {"behind": behind, "issuer": issuer, "callers": callers, "refuses_parts": False})
    endpoints = type("AnEndpoint", (Endpoints,), {"issuer": issuer})
    with serve(door) as door_url, serve(endpoints) as endpoints_url:
        yield Region(issuer, door_url, endpoints_url, callers, door)
