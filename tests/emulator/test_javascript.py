"""The AWS SDK for JavaScript, from npm and unmodified, reads answers and streams over HTTP/2."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.emulator.lab import HAIKU, Lab
from tests.labs.installing import install

SDK = "@aws-sdk/client-bedrock-runtime@3"
SCRIPT = Path(__file__).parent / "javascript" / "client.mjs"
TEXT = "The parcel never arrived. The customer wants a refund."

INSTALL_TIMEOUT_S = 120

pytestmark = pytest.mark.slow


def test_the_javascript_sdk(lab: Lab, tmp_path: Path) -> None:
    """Converse, ConverseStream and InvokeModelWithResponseStream give the same text."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("needs Node.js")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(tmp_path), SDK]
    install(command, "the AWS SDK for JavaScript", INSTALL_TIMEOUT_S)
    script = shutil.copy(SCRIPT, tmp_path)
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": lab.emulator.endpoint_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    run = subprocess.run([node, script, HAIKU, TEXT], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["whole"] == TEXT
    assert said["converse"] == said["invoke"] == said["whole"]
