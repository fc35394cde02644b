"""`bedrock-assets new`: a pipeline's YAML and prompt, checked before they are written."""

from pathlib import Path
from typing import Annotated

import typer

from bedrock_assets.cli.common import say, session, warn


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
        folder = defs or project.defs
        paths = write(Draft(name, source, model, prompt, embed, id_column), folder)
    is_loaded = folder.resolve() == project.defs.resolve()
    for path in paths:
        say(f"written    {path}")
    if not is_loaded:
        warn(f"{project} does not load {folder}: commands take the file's path, and Dagster does not show the pipeline")
    for command, purpose in _next(name if is_loaded else str(paths[0]), is_loaded=is_loaded):
        say(f"next       {command:<34}  # {purpose}")


def _next(name: str, *, is_loaded: bool) -> list[tuple[str, str]]:
    """The three commands that one would try now, and what they do."""
    commands = [
        (f"bedrock-assets plan {name}", "rows, jobs and the first prompt; nothing is sent"),
        (f"bedrock-assets estimate {name}", "tokens, cost and hours"),
        (f"bedrock-assets sample {name}", "some prompts, as the model would receive them"),
    ]
    if is_loaded:
        commands[1:] = [
            (f"bedrock-assets demo {name}", "the whole table from an emulator, without AWS"),
            ("bedrock-assets dev", "the same in the Dagster UI, to click yourself"),
        ]
    return commands
