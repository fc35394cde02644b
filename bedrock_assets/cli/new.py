"""`bedrock-assets new`: a pipeline's YAML and prompt, checked before they are written."""

from pathlib import Path
from typing import Annotated

import typer

from bedrock_assets.cli.common import console, session


def new(
    name: Annotated[str, typer.Argument(help="Name of the pipeline: lower-case letters, digits and _.")],
    source: Annotated[
        str, typer.Option(help="File or glob, local or s3://; hf:ID of a hub dataset; asset:KEY; or another pipeline.")
    ],
    model: Annotated[str, typer.Option(help="Model id, inference profile or ARN.")],
    prompt: Annotated[str | None, typer.Option(help='Template: "Summarise: {transcript}".')] = None,
    embed: Annotated[str | None, typer.Option(help="Column to embed, instead of a prompt.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with a unique id; without it ids are derived.")] = None,
    defs: Annotated[
        Path | None, typer.Option(help="Folder of all pipelines; by default the `defs/` of the project around here.")
    ] = None,
) -> None:
    """
    Write a new pipeline: defs/NAME/defs.yaml and, for a prompt, defs/NAME/NAME.txt.

    Example: bedrock-assets new calls --source calls.csv --model us.amazon.nova-2-lite-v1:0 --prompt 'Sum: {text}'
    """
    from bedrock_assets.components.scaffold import Draft, write
    from bedrock_assets.errors import ConfigError
    from bedrock_assets.pipeline.project import DEMO, find_project

    with session():
        project = find_project()
        if defs is None and project == DEMO:
            raise ConfigError("there is no Dagster project here; create one with `create-dagster`, or name --defs")
        paths = write(Draft(name, source, model, prompt, embed, id_column), defs or project.defs)
    for path in paths:
        console.print(str(path), soft_wrap=True)
    console.print(f"preview it with: bedrock-assets plan {paths[0]}", soft_wrap=True)
