"""Credentials that AWS does not accept: told in one message, and worth another try later."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import boto3
import pytest

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.errors import BedrockUnavailable


class Refusal(BaseHTTPRequestHandler):
    """Answers every call as AWS answers one with an expired token."""

    def do_GET(self) -> None:
        """List and Get."""
        body = json.dumps({"message": "The security token included in the request is expired"}).encode()
        self.send_response(403)
        self.send_header("x-amzn-ErrorType", "ExpiredTokenException")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay quiet."""


def test_expired_credentials_are_one_clear_message() -> None:
    """An expired token is transient, and the message says what to renew and that no restart is needed."""
    server = HTTPServer(("127.0.0.1", 0), Refusal)
    Thread(target=server.serve_forever, daemon=True).start()
    client = boto3.client(
        "bedrock",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id="old",
        aws_secret_access_key="old",
    )
    try:
        with pytest.raises(BedrockUnavailable, match=r"ExpiredTokenException.*renew them, no restart"):
            list(Bedrock(client, "arn:aws:iam::123456789012:role/x").list())
    finally:
        server.shutdown()
        server.server_close()
