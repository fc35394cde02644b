"""`bedrock-assets deployment`: the configuration files that ship, one for each kind of deployment."""

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
    kind: Annotated[str | None, typer.Argument(help="Kind of deployment; without it, all kinds are listed.")] = None,
) -> None:
    """
    Print a configuration to start from: dagster.yaml, Helm values or a Dockerfile.

    Example: bedrock-assets deployment one-machine > $DAGSTER_HOME/dagster.yaml
    """
    texts = {name: (FOLDER / file).read_text("utf-8") for name, file in FILES.items()}
    if kind is None:
        for name, text in texts.items():
            typer.echo(f"{name:<12} {text.splitlines()[0].removeprefix('# ')}")
    elif kind in texts:
        typer.echo(texts[kind], nl=False)
    else:
        fail(f"there is no deployment {kind!r}; known: {', '.join(FILES)}", 2)
