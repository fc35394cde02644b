"""`bedrock-assets demo` and `dev`: the whole stack on this machine."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bedrock_assets.cli.common import Json, console, notes_console, print_json, session, warn, working
from bedrock_assets.errors import ConfigError

Home = Annotated[Path, typer.Option(help="Folder for everything the local stack keeps.")]
Speed = Annotated[float, typer.Option(min=0.001, help="Emulated seconds of a job's life per real second.")]
MaxJobs = Annotated[int, typer.Option(min=1, help="Limit of the pool bedrock_batch, set when the folder is new.")]
DEMO_PIPELINE = "conversation_summaries"


def demo(
    pipeline: Annotated[
        str | None, typer.Argument(help="Pipeline to run; without it, the one that ships with the package.")
    ] = None,
    home: Home = Path("bedrock-assets-demo"),
    speed: Speed = 30.0,
    max_jobs: MaxJobs = 2,
    as_json: Json = False,
) -> None:
    """Run the main job from end to end on this machine: emulator, Dagster with its daemon, real conversations."""
    from bedrock_assets.components.load import load_pipeline
    from bedrock_assets.local.demo import run_demo
    from bedrock_assets.local.report import show
    from bedrock_assets.local.stack import Settings, local_stack
    from bedrock_assets.pipeline.project import DEMO, find_project

    with session():
        project = find_project() if pipeline else DEMO
        chosen = load_pipeline(pipeline or DEMO_PIPELINE, project)
        # As it was named, or as it is: a folder of `defs/` may be a link.
        if not any(
            folder.is_relative_to(project.defs) for folder in (chosen.folder.absolute(), chosen.folder.resolve())
        ):
            raise ConfigError(
                f"{pipeline}: Dagster does not load it, as it is not in {project}; move its folder into the `defs/` of "
                "a Dagster project (`create-dagster project my-project` writes one), and run this there"
            )
        with local_stack(Settings(home, speed=speed, max_jobs=max_jobs, project=project)) as stack:
            _tell_note(stack.note)
            result = run_demo(stack, chosen, notes_console if as_json else console)
        if as_json:
            print_json(dataclasses.asdict(result))
        else:
            show(result, console)
            if project == find_project():  # elsewhere `dev` serves another project
                console.print(f"[bold]{'look':<10}[/bold] bedrock-assets dev --home {home}", soft_wrap=True)
    raise typer.Exit(0 if result.succeeded else 1)


def dev(
    home: Home = Path("bedrock-assets-dev"),
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; 0 takes a free one.")] = 3000,
    speed: Speed = 30.0,
    max_jobs: MaxJobs = 2,
    min_records: Annotated[
        int, typer.Option(min=1, help="Fewest records of a job, as Bedrock's quota says for the models you use.")
    ] = 100,
    workspace: Annotated[
        Path | None, typer.Option(exists=True, help="A workspace.yaml, in place of the project.")
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Keep the local stack running, with the Dagster UI; end it with Ctrl-C.

    It serves the Dagster project of the current folder; without one, the demo's pipelines.
    """
    from bedrock_assets.local.stack import CALM_INTERVAL_S, Settings, local_stack
    from bedrock_assets.local.ui import DagsterUI, LocationError
    from bedrock_assets.pipeline.project import DEMO, find_project

    project = DEMO if workspace else find_project()
    settings = Settings(home, port, speed, max_jobs, workspace, project, CALM_INTERVAL_S, min_records)
    with session(), local_stack(settings) as stack:
        _tell_note(stack.note)
        try:
            notes_console.print("starting Dagster: its web server, its daemon and the code of the project")
            with working("waiting until the UI shows the assets; this takes 10 s to a minute"):
                DagsterUI(stack.ui_url).wait_until_loaded(stack.require_alive, notes_console.print)
        except LocationError as error:
            notes_console.print(f"{error}\ncorrect it, then reload the code location in the UI", style="yellow")
        if as_json:
            print_json({"ui": stack.ui_url, "emulator": stack.emulator_url, "store": str(stack.store)})
        else:
            console.print(f"Dagster UI   {stack.ui_url}\nemulator     {stack.emulator_url}\nstore        {stack.store}")
            console.print(f"more         bedrock-assets status|doctor|errors ... --home {home}\nend with Ctrl-C")
        try:
            stack.dagster.wait()
        except KeyboardInterrupt:
            console.print("stopping")


def _tell_note(note: str) -> None:
    if note:
        warn(note)
