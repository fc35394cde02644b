"""The Dockerfile needs nothing but the package: what it installs, starts and asks for its health is here."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from bedrock_assets.cli.deployment import FILES, FOLDER
from bedrock_assets.local.stack import free_port, stop

ROOT = Path(__file__).parents[2]
TEXT = (FOLDER / "Dockerfile").read_text("utf-8")
START_TIMEOUT_S = 60


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its arguments on one line."""
    lines = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def of(name: str) -> str:
    """The arguments of the only instruction of a kind."""
    (found,) = [rest for each, rest in instructions() if each == name]
    return found


def test_it_copies_wheels_and_installs_them() -> None:
    """Nothing is fetched but the base image and the package's own dependencies, and it does not run as root."""
    assert of("COPY") == "dist/ dist/"
    assert not re.search(r"https?://|\bADD\b|--index-url|\bcurl\b|\bapt", TEXT)
    installed = re.search(
        r'pip install --no-cache-dir --find-links dist dist/\*\.whl "bedrock-assets\[(\w+)\]"', of("RUN")
    )
    assert installed
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert any(each.startswith("dagster-k8s") for each in extras[installed[1]])
    assert any("[postgres]" in each for each in extras[installed[1]])
    assert [name for name, _ in instructions()].index("USER") < [name for name, _ in instructions()].index("CMD")


def test_the_wheel_has_all_that_the_package_reads(tmp_path: Path) -> None:
    """Built as the image builds it, the package brings configurations, template, prompts and pipelines along."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"bedrock_assets/deploy/{file}" for file in (*FILES.values(), "aws-resources.yaml")} <= names
    package = ROOT / "bedrock_assets"
    data = [path for pattern in ("prompts/*.txt", "defs/*/*", "docs/*") for path in package.glob(pattern)]
    here = {str(path.relative_to(ROOT)) for path in data if path.is_file() and "__pycache__" not in path.parts}
    assert here
    assert here <= names


@pytest.mark.slow
def test_its_command_serves_the_code_location(tmp_path: Path) -> None:
    """What CMD starts is healthy by what HEALTHCHECK asks, and is not before."""
    port = str(free_port())
    defaults = dict(re.findall(r"(\w+)=(\S+)", of("ENV")))
    env = {**os.environ, **defaults, "DAGSTER_HOME": str(tmp_path), "PATH": path_with_dagster()}
    health = [word.replace("4000", port) for word in json.loads(of("HEALTHCHECK").partition("CMD ")[2])]
    assert subprocess.run(health, env=env, capture_output=True, check=False).returncode != 0
    command = [word.replace("4000", port) for word in json.loads(of("CMD"))]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(health, env=env, capture_output=True, check=False).returncode:
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
    finally:
        stop(server)


@pytest.mark.parametrize("kind", ["server.yaml", "ecs.yaml", "kubernetes.yaml"])
def test_every_deployment_names_what_the_image_has(kind: str) -> None:
    """The classes that the other configurations name come from packages that the image installs."""
    named = set(re.findall(r"module: ([a-z_0-9]+)", (FOLDER / kind).read_text("utf-8")))
    assert named <= {"dagster", "dagster_aws", "dagster_postgres", "dagster_k8s"}


def path_with_dagster() -> str:
    """The search path, this environment's commands first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
