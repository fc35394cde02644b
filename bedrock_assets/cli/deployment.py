"""The command `bedrock-assets deployment`: the configuration files that ship, one for each kind of deployment."""

from importlib.resources import files
from typing import Annotated

import typer

from bedrock_assets.cli.common import fail

FOLDER = files("bedrock_assets") / "deploy"
FILES = {
    "one-machine": "one-machine.yaml",
    "server": "server.yaml",
    "ecs": "ecs.yaml",
    "kubernetes": "kubernetes.yaml",
    "dockerfile": "Dockerfile",
}


def deployment(
    kind: Annotated[str | None, typer.Argument(help="One of those that are listed without it.")] = None,
) -> None:
    """
    Print a configuration to start from: dagster.yaml, Helm values or a Dockerfile.

    Example: bedrock-assets deployment one-machine > $DAGSTER_HOME/dagster.yaml
    """
    if kind is None:
        for name, file in FILES.items():
            typer.echo(f"{name:<12} {_text(file).splitlines()[0].removeprefix('# ')}")
        return
    if kind not in FILES:
        fail(f"there is no deployment {kind!r}; known: {', '.join(FILES)}", 2)
    typer.echo(_text(FILES[kind]), nl=False)


def _text(file: str) -> str:
    return (FOLDER / file).read_text("utf-8")
