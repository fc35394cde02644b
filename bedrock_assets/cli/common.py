"""What the commands share: output, errors and exit codes, and how they find pipelines, store and instance."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from bedrock_assets.errors import BedrockAssetsError, ConfigError

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from bedrock_assets.pipeline.pipeline import Pipeline
    from bedrock_assets.resources.bedrock import BedrockResource
    from bedrock_assets.storage.store import Store


from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedrock_assets.pipeline.pipeline import Pipeline


console, notes_console = Console(), Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on standard output.")]
Name = Annotated[str, typer.Argument(help="A pipeline's name, or the path of a defs.yaml.")]
LocalHome = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of a local stack, `demo` or `dev`; else settings come from the environment."),
]


def use(home: Path | None) -> None:
    """
    Take a local stack's settings as the environment's.

    Raises:
        ConfigError: There is no local stack in *home*.
    """
    if home is None:
        return
    from bedrock_assets.local.stack import SETTINGS

    try:
        os.environ |= json.loads((home / SETTINGS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{home} is no folder of a local stack; start one: bedrock-assets dev --home {home}"
        ) from error


def pipeline_of(name: str) -> "Pipeline":
    """
    Raises:
        ConfigError: There is no such pipeline, or its YAML is wrong.
    """
    from bedrock_assets.pipeline.load import load_pipeline

    return load_pipeline(name)


def open_store() -> "Store":
    """The store that the environment names."""
    from bedrock_assets.resources.environment import store_resource

    return store_resource().open()


def bedrock_resource() -> "BedrockResource":
    """Bedrock as the environment has it."""
    from bedrock_assets.resources.environment import bedrock_resource as found

    return found()


@contextmanager
def open_instance() -> "Generator[DagsterInstance]":
    """
    The Dagster instance of `DAGSTER_HOME`.

    Raises:
        ConfigError: The variable is not set, or names no instance.
    """
    from dagster import DagsterInstance

    home = os.environ.get("DAGSTER_HOME")
    if not home or not Path(home).is_dir():
        found = f"names {home}, which is no folder" if home else "is not set"
        raise ConfigError(f"DAGSTER_HOME {found}; set it to Dagster's folder, or name a local stack with --home")
    with DagsterInstance.get() as instance:
        yield instance


@contextmanager
def errors() -> Generator[None]:
    """Errors of ours are told in one line; Ctrl-C is no error."""
    try:
        yield
    except BedrockAssetsError as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def working(what: str, *, quiet: bool = False) -> Generator[None]:
    """Show that something is being done, on a terminal; nothing where nobody looks."""
    if quiet or not notes_console.is_terminal:
        yield
        return
    with notes_console.status(what):
        yield


def fail(message: str, code: int) -> NoReturn:
    """End with a message on standard error."""
    notes_console.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def print_json(result: object) -> None:
    """The result for programs."""
    typer.echo(json.dumps(result, ensure_ascii=False, default=str))


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the person says so, or has said so with `--yes`."""
    if not yes and not typer.confirm(question, err=True):
        fail("nothing was done", 1)


Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]

Names = Annotated[list[str] | None, typer.Argument(help="Pipelines; all of defs/ without any.")]


def pipelines_of(names: Sequence[str] | None) -> list["Pipeline"]:
    from bedrock_assets.pipeline.load import known_pipelines

    known = names or known_pipelines()
    if not known:
        fail("there is no pipeline under defs/; name the path of a defs.yaml", 2)
    return [pipeline_of(name) for name in known]
