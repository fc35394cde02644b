"""What the commands share: their common options, output and exit codes, and access to pipelines, store and instance."""

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from bedrock_assets.errors import BedrockAssetsError, ConfigError, DataError, OverBudget, first_line, panics

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from bedrock_assets.aws.regions import Regions
    from bedrock_assets.config import WorkloadSpec
    from bedrock_assets.inbox.inbox import Inbox
    from bedrock_assets.pipeline.pipeline import Pipeline
    from bedrock_assets.resources.bedrock import BedrockResource
    from bedrock_assets.storage.store import Store

console, notes_console = Console(), Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on standard output.")]
Name = Annotated[str, typer.Argument(help="A pipeline's name, or the path of a defs.yaml.")]
WorkloadName = Annotated[str, typer.Argument(help="Name of a pipeline or an inbox, or the path of a defs.yaml.")]
Names = Annotated[list[str] | None, typer.Argument(help="Pipelines and inboxes; all of defs/ if none is named.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
LocalHome = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of a local stack (`demo`, `dev`); its settings replace the environment's."),
]


class Environment:
    """Pipelines, inboxes, store, Bedrock and Dagster instance, as the environment configures them."""

    def pipeline(self, name: str) -> "Pipeline":
        """
        Load a pipeline.

        Raises:
            ConfigError: There is no such pipeline, or its YAML is wrong.
        """
        from bedrock_assets.components.load import load_pipeline

        return load_pipeline(name)

    @contextmanager
    def naming(self, pipeline: "Pipeline | Inbox") -> Generator[None]:
        """Put the file of a pipeline before errors of its settings and its rows, which begin with a key or a column."""
        from bedrock_assets.inbox.inbox import Inbox

        try:
            yield
        except (ConfigError, DataError) as error:
            if isinstance(pipeline, Inbox) or isinstance(error, OverBudget):
                raise
            raise type(error)(f"{pipeline.folder / 'defs.yaml'}: {error}") from error

    def workload(self, name: str) -> "Pipeline | Inbox":
        """
        Load a pipeline or an inbox.

        Raises:
            ConfigError: There is none of that name, or its YAML is wrong.
        """
        from bedrock_assets.components.load import load_workload

        return load_workload(name)

    def spec(self, name: str) -> "WorkloadSpec":
        """
        Read the YAML of a pipeline or an inbox, and nothing that it names.

        Raises:
            ConfigError: There is none of that name, or its YAML is wrong.
        """
        from bedrock_assets.components.load import specs_of

        return specs_of([name])[0]

    def specs(
        self, names: Sequence[str] | None, *, whole: bool = False
    ) -> tuple[list["WorkloadSpec"], list[BedrockAssetsError]]:
        """
        Read the YAML of these pipelines and inboxes, or of all of defs/: those that can be read, and what is wrong.

        Args:
            whole: Also look at what they name: model, prompts, schema, source.

        Raises:
            ConfigError: There is none, or the project's own settings are wrong.
        """
        from bedrock_assets.components.load import find_workloads
        from bedrock_assets.pipeline.project import find_project

        specs, errors = find_workloads(names, whole=whole)
        if not (specs or errors):
            raise ConfigError(f"there is no pipeline in {find_project()}; name the path of a defs.yaml")
        return specs, errors

    def with_rows(self, pipeline: "Pipeline") -> "Pipeline":
        """
        The pipeline with its rows, if the source is an asset: then the Dagster instance knows where they are.

        Raises:
            ConfigError: There is no instance, or the rows are not in files.
        """
        if not pipeline.spec.source.needs_instance:
            return pipeline
        from bedrock_assets.assets.source import with_files

        with self.instance() as instance:
            return with_files(pipeline, instance)

    @cached_property
    def store(self) -> "Store":
        """The store."""
        from bedrock_assets.resources.store import store_resource

        return store_resource().open()

    @cached_property
    def bedrock(self) -> "BedrockResource":
        """Bedrock's settings."""
        from bedrock_assets.resources.environment import bedrock_resource

        return bedrock_resource()

    @cached_property
    def regions(self) -> "Regions":
        """Bedrock's regions; the store may be a local folder."""
        return self.bedrock.open(self.store, local=True)

    @contextmanager
    def instance(self) -> "Generator[DagsterInstance]":
        """
        Open the Dagster instance of `DAGSTER_HOME`.

        Raises:
            ConfigError: The variable is not set, or is not a folder.
        """
        from dagster import DagsterInstance

        home = os.environ.get("DAGSTER_HOME")
        if not home or not Path(home).is_dir():
            problem = f"names {home}, which is not a folder" if home else "is not set"
            raise ConfigError(f"DAGSTER_HOME {problem}; set it to Dagster's folder, or name a local stack with --home")
        with DagsterInstance.get() as instance:
            yield instance


@contextmanager
def session(home: Path | None = None) -> Generator[Environment]:
    """
    Print a BedrockAssetsError as one line and exit 2; exit 130 on Ctrl-C.

    Args:
        home: Folder of a local stack whose settings replace those of the environment.
    """
    try:
        _read_env_file()
        if home is not None:
            _use_local_stack(home)
        yield Environment()
    except BedrockAssetsError as error:
        fail(str(error), 2)
    except panics() as error:
        fail(f"polars cannot handle a value of the data: {first_line(error)}", 2)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _read_env_file() -> None:
    """Set what the `.env` of the project here sets, as Dagster does when it loads the project."""
    from dotenv import dotenv_values

    from bedrock_assets.pipeline.project import find_project

    with suppress(ConfigError):  # of the project; commands that need one tell it
        folder = find_project().folder
        values = dotenv_values(folder / ".env") if folder else {}
        os.environ |= {name: value for name, value in values.items() if value is not None}


def _use_local_stack(home: Path) -> None:
    from bedrock_assets.local.stack import AWS_ONLY, SETTINGS

    for name in AWS_ONLY:
        os.environ.pop(name, None)
    try:
        os.environ |= json.loads((home / SETTINGS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{home} is not a folder of a local stack; start one: bedrock-assets dev --home {home}"
        ) from error


@contextmanager
def working(what: str, *, quiet: bool = False) -> Generator[None]:
    """Show a spinner on a terminal, nothing elsewhere."""
    if quiet or not notes_console.is_terminal:
        yield
        return
    with notes_console.status(what):
        yield


def fail(message: str, code: int) -> NoReturn:
    """Print an error on standard error and exit with *code*."""
    tell(message)
    raise typer.Exit(code)


def tell(message: str) -> None:
    """Print an error on standard error, and go on."""
    notes_console.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    notes_console.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print plain text on standard output."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(result: object) -> None:
    """Print the result for programs."""
    typer.echo(json.dumps(result, ensure_ascii=False, default=str))


def print_fields(fields: Mapping[str, object], words: Mapping[str, str] | None = None) -> None:
    """Print names and values, one pair a line, and what some of the names mean."""
    for name, value in fields.items():
        console.print(f"[bold]{name:<18}[/bold] ", end="")
        note = f"   ({words[name]})" if words and name in words else ""
        say((f"{value:,}" if isinstance(value, int) else str(value)) + note)


def confirm(question: str, *, yes: bool) -> None:
    """Exit 1 unless the person agrees, or gave `--yes`."""
    if not yes and not typer.confirm(question, err=True):
        fail("nothing was done", 1)
