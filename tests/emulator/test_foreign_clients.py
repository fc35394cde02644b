"""Batch clients of other people, from PyPI and unmodified: their own code judges what the emulator answers."""

import json
import os
import subprocess
import venv
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import boto3
import pytest

from bedrock_assets.emulator import Emulator
from tests.emulator.worlds import moto_server
from tests.labs.installing import install

REQUIREMENTS = {
    "llmbo": ("llmbo-bedrock==0.2.4",),
    "bedrockhelper": ("bedrockhelper==1.2.1",),
    "langbatch": ("langbatch[bedrock]==0.1.2",),
    # The second one spares pip a walk through all versions that do not fit.
    "langasync": ("langasync==0.2.3", "langchain-aws==1.1.0"),
}
"""By client, each in an environment of its own, as their versions of boto3 differ."""
INSTALL_TIMEOUT_S, RUN_TIMEOUT_S = 300, 300
BUCKET = "foreign-clients"
MODELS = (
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "us.amazon.nova-lite-v1:0",
    "us.meta.llama3-3-70b-instruct-v1:0",
    "mistral.mistral-large-2407-v1:0",
    "openai.gpt-oss-20b-1:0",
)
"""One for each of LLMbo's adapters whose model runs in batch in us-east-1."""

pytestmark = pytest.mark.slow
Run = Callable[..., Any]


def python_of(client: str, folder: Path) -> Path:
    """The interpreter of a virtual environment that has a client, and nothing of ours."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS[client]]
    install(pip, client, INSTALL_TIMEOUT_S)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Generator[Run]:
    """Runs a script of the folder `foreign`, with the emulator and moto's S3 and IAM; gives what it prints."""
    folder = tmp_path_factory.mktemp("world")
    with moto_server(folder) as s3, pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        s3.create_bucket(BUCKET)
        iam: Any = boto3.client("iam", endpoint_url=s3.url, region_name="us-east-1")
        role_arn = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        (folder / "config").write_text("[profile local]\nregion = us-east-1\n")
        # LLMbo sends one token for ever, which works once AWS has forgotten it.
        with Emulator("s3://", folder / "jobs.sqlite", speed=2000, token_hours=0.001) as emulator:
            env = {
                **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))},
                **s3.environment,
                **{f"AWS_ENDPOINT_URL_{name}": s3.url for name in ("IAM", "STS")},
                **{f"AWS_ENDPOINT_URL_{name}": emulator.endpoint_url for name in ("BEDROCK", "BEDROCK_RUNTIME")},
                "AWS_CONFIG_FILE": str(folder / "config"),
                "AWS_PROFILE": "local",
                "BEDROCK_S3_BUCKET": BUCKET,
                "BEDROCK_ROLE_ARN": role_arn,
                "LANGASYNC_BASE_STORAGE_PATH": str(folder / "langasync"),
            }

            def of(client: str, *arguments: str) -> Any:
                script = Path(__file__).parent / "foreign" / f"of_{client}.py"
                python = python_of(client, folder / client)
                command = [str(python), str(script), *(word.format(role=role_arn) for word in arguments)]
                done = subprocess.run(
                    command, env=env, cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
                )
                assert done.returncode == 0, done.stderr[-3000:]
                return json.loads(done.stdout.splitlines()[-1])

            yield of


def test_llmbo(run: Run, tmp_path: Path) -> None:
    """A job for each adapter, all with one constant client token; every record is answered."""
    told = run("llmbo", BUCKET, "{role}", str(tmp_path), *MODELS)
    assert {model: counts[:2] for model, counts in told.items()} == {model: [100, 100] for model in MODELS}
    assert all("invoice" in answer for _, _, answer in told.values())


def test_bedrockhelper(run: Run) -> None:
    """Its embeddings come from a job, and its answers from ConverseStream."""
    status, n_vectors, n_dimensions, text = run("bedrockhelper", BUCKET, "{role}")
    assert (status, n_vectors, n_dimensions) == ("Completed", 100, 1024)
    assert "nvoice 7" in text


def test_langbatch(run: Run) -> None:
    """Chats with Claude and Nova become OpenAI's format again."""
    told = run("langbatch", BUCKET, "{role}")
    assert [counts[:3] for counts in told.values()] == [["completed", 100, 0]] * 2
    assert all("was paid" in first for *_, first in told.values())


def test_langasync(run: Run) -> None:
    """A chain of LangChain runs as one job, and its last step gets every text."""
    status, texts = run("langasync")
    assert (status, len(texts)) == ("completed", 100)
    assert all(f"nvoice {n}" in text for n, text in enumerate(texts))
