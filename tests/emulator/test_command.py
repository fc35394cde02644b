"""`bedrock-assets emulate` as a process."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from bedrock_assets.cli.app import app
from bedrock_assets.models import catalogue
from tests.emulator.lab import BUCKET, HAIKU, TITAN_EMBED, Lab, connect, connect_to, record, records
from tests.emulator.openai_server import Server
from tests.emulator.worlds import S3, World

COMMAND = [str(Path(sys.executable).with_name("bedrock-assets")), "emulate", "--port", "0", "--json", "--any-model"]


@pytest.fixture
def emulate(tmp_path: Path) -> Iterator[Any]:
    """Start the command with options; what it says of itself, and a client."""
    with ExitStack() as stack:

        def run(world: World, *options: str) -> tuple[dict[str, str], Any]:
            command = [*COMMAND, "--store", world.store, "--db", str(tmp_path / "cli.sqlite"), *options]
            env = os.environ | {"OPENAI_API_KEY": "k"}
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env))
            stack.callback(process.kill)
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            client = connect(said["endpoint_url"])
            stack.callback(client.close)
            return said, client

        yield run


def test_faults_and_rules_by_options(emulate: Any, world: World, tmp_path: Path) -> None:
    """Options set the clock, the quotas and faults; those of the command line stand over those of the file."""
    path = tmp_path / "faults.json"
    path.write_text('{"seed": 1, "partial_fraction": 0.5, "record_error_message": "x"}')
    options = ["--stepped", "--max-jobs", "1", "--queue", "--min-records", "1", "--max-records", "30", "--reuse-names"]
    more = ("--fault", "partial_fraction=0.25", "--fault", "mark_expired=true", "--fault", "record_error_message=7 up")
    said, client = emulate(world, *options, "--faults", str(path), *more)
    url = said["endpoint_url"]
    with urllib.request.urlopen(f"{url}/admin/faults") as response:
        faults = json.load(response)
    assert (faults["seed"], faults["partial_fraction"], faults["mark_expired"]) == (1, 0.25, True)
    assert faults["record_error_message"] == "7 up"

    def advance() -> None:
        urllib.request.urlopen(f"{url}/admin/clock", b'{"advance_s": 1000}').close()

    lab = Lab(None, client, world)  # type: ignore[arg-type]
    small, large = lab.create("a-job"), lab.create("b-job", lab.put("in/large.jsonl", records(31)))
    advance()
    advance()
    assert (lab.get(small)["status"], lab.get(small)["processedRecordCount"]) == ("PartiallyCompleted", 5)
    assert lab.get(large)["status"] == "Failed"
    assert lab.create("a-job") != small


def test_s3_by_its_environment(emulate: Any, s3: S3) -> None:
    """With `--store s3://` the command reads and writes the server that AWS_ENDPOINT_URL_S3 names."""
    assert os.environ["AWS_ENDPOINT_URL_S3"].startswith("http://127.0.0.1:")
    s3.create_bucket(BUCKET)
    _, client = emulate(s3, "--speed", "10000", "--min-records", "1")
    lab = Lab(None, client, s3)  # type: ignore[arg-type]
    arn = lab.create("a-job")
    assert lab.wait(arn)["status"] == "Completed"
    assert len(lab.lines(arn)) == 20
    s3.clear()


def test_quota_refuses_by_default(emulate: Any, world: World) -> None:
    """Without --queue a job over the quota is refused."""
    _, client = emulate(world, "--max-jobs", "1")
    lab = Lab(None, client, world)  # type: ignore[arg-type]
    lab.create("a-job")
    with pytest.raises(ClientError, match="ServiceQuotaExceeded"):
        lab.create("b-job")


def test_real_models_by_options(emulate: Any, world: World, server: Server) -> None:
    """--chat-url and --embed-url name the endpoints, and the key comes from the environment."""
    vector, text = {"data": [{"embedding": [1.0]}]}, {"choices": [{"message": {"content": "Ah."}}]}
    server.answer = lambda _, body: (200, vector if "input" in body else text)
    names = ("--chat-model", "small", "--embed-model", "smaller")
    said, _ = emulate(world, "--chat-url", server.url, "--embed-url", server.url, *names)
    runtime = connect_to("bedrock-runtime", said["endpoint_url"])
    body = json.dumps(record("a", "Hi.")["modelInput"])
    answer = json.loads(runtime.invoke_model(modelId=HAIKU, body=body)["body"].read())
    assert answer["content"][0]["text"] == "Ah."
    answer = json.loads(runtime.invoke_model(modelId=TITAN_EMBED, body='{"inputText": "Hi."}')["body"].read())
    assert answer["embedding"] == [1.0] + [0.0] * 1023
    runtime.close()
    assert [(sent["model"], key) for _, sent, key in server.requests] == [
        ("small", "Bearer k"),
        ("smaller", "Bearer k"),
    ]


BAD_FAULTS = {
    "key.json": ('{"trottle_rate": 1}', "key.json: trottle_rate is not known (did you mean throttle_rate?)"),
    "value.json": ('{"seed": "x"}', "value.json: seed: input should be a valid integer"),
    "list.json": ("[1]", "list.json is not a JSON object"),
    "broken.json": ("{", "broken.json cannot be read as JSON"),
}
BAD_OPTIONS = (
    (("--fault", "trottle_rate=1"), "--fault: trottle_rate is not known (did you mean throttle_rate?)"),
    (("--fault", "throttle_rate=2"), "throttle_rate: input should be less than or equal to 1"),
    (("--fault", "expire"), "NAME=VALUE"),
    (("--min-records", "60000"), "min_records_per_job"),
    (("--chat-url", "file:///etc/passwd"), "http://"),
    (("--events-queue", "my-queue"), "events_queue: string should match pattern"),
    (("--port", "70000"), "port: input should be less than or equal to 65535"),
    (("--store", "nowhere"), "nowhere is not a folder: make it"),
    (("--store", "s3://mine"), "the store is s3:// alone"),
)


def test_wrong_options(tmp_path: Path) -> None:
    """A wrong option or file of faults ends the command with status 2 and one line that names what is wrong."""
    cases = list(BAD_OPTIONS)
    for name, (text, words) in BAD_FAULTS.items():
        (tmp_path / name).write_text(text)
        cases.append((("--faults", str(tmp_path / name)), words))
    always = ["emulate", "--port", "0", "--store", str(tmp_path), "--db", str(tmp_path / "x.sqlite")]
    failures: list[str] = []
    for options, words in cases:
        done = CliRunner().invoke(app, [*always, *options])
        said = done.stderr.removesuffix("\n")
        if done.exit_code != 2 or words not in said or "\n" in said:
            failures.append(f"{options}: {done.exit_code}, {said!r}, not {words!r}")
    assert not failures


def test_a_broken_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of models that is not TOML, or is gone, keeps the emulator from starting, and is named."""
    always = ["emulate", "--port", "0", "--store", str(tmp_path), "--db", str(tmp_path / "x.sqlite")]
    broken = tmp_path / "catalogue.toml"
    broken.write_text("models = [")
    for file in (broken, tmp_path / "gone.toml"):
        monkeypatch.setattr(sys.modules[catalogue.__module__], "FILE", file)
        catalogue.cache_clear()
        done = CliRunner().invoke(app, always)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: the catalogue of models cannot be read: ")
        assert done.stderr.count("\n") == 1
    catalogue.cache_clear()


HEAVY = {
    *("dagster", "polars", "pyarrow", "numpy", "pandas", "datasets", "duckdb", "deltalake", "boto3"),
    *("jinja2", "sqlalchemy", "websockets", "genai_prices", "httpx", "hypothesis"),
}
"""What a start of the emulator has no use for: each would take a part of a second."""


def test_it_starts_light_and_names_a_port_in_use(tmp_path: Path) -> None:
    """A start, up to the port that is taken, loads nothing heavy; it ends with status 2 and one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ["--port", port, "--store", str(tmp_path), "--db", str(tmp_path / "x.sqlite")]
        command = [sys.executable, "-X", "importtime", COMMAND[0], "emulate", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.splitlines()
    loaded = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert done.returncode == 2
    (said,) = [line for line in lines if not line.startswith("import time:")]
    assert said.startswith(f"error: the emulator cannot start on 127.0.0.1, port {port}")
    assert "bedrock_assets.emulator.service" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY}
