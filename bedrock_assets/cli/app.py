"""The command `bedrock-assets`. Exit codes: 0 done, 1 the work failed, 2 the input or a setting is wrong."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from bedrock_assets.cli.aws import app as aws
from bedrock_assets.cli.compare import compare
from bedrock_assets.cli.deployment import deployment
from bedrock_assets.cli.doctor import doctor
from bedrock_assets.cli.emulate import emulate
from bedrock_assets.cli.errors import errors
from bedrock_assets.cli.estimate import estimate
from bedrock_assets.cli.files import format_command, parse
from bedrock_assets.cli.gc import gc
from bedrock_assets.cli.iam import iam
from bedrock_assets.cli.local import demo, dev
from bedrock_assets.cli.metrics import metrics
from bedrock_assets.cli.models import models
from bedrock_assets.cli.new import new
from bedrock_assets.cli.plan import plan
from bedrock_assets.cli.reference import reference
from bedrock_assets.cli.report import report
from bedrock_assets.cli.run import run
from bedrock_assets.cli.sample import sample
from bedrock_assets.cli.status import status
from bedrock_assets.cli.stop import stop

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")

GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "On this machine": (demo, dev, emulate),
    "Before a launch": (new, plan, sample, estimate, models),
    "Work and progress": (run, status, errors, report, compare, stop),
    "The deployment": (doctor, deployment, iam, metrics, gc),
    "Files alone, without Dagster": (parse,),
    "More": (reference,),
}
for group, commands in GROUPS.items():
    for command in commands:
        app.command(rich_help_panel=group)(command)
app.command("format", rich_help_panel="Files alone, without Dagster")(format_command)
app.add_typer(aws, name="aws", rich_help_panel="The deployment")


def _print_version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"bedrock-assets {version('bedrock-assets')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda asked: _print_version(asked=asked), is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Add a model's answer to every row of a table, with Amazon Bedrock batch inference and Dagster."""


def main() -> None:
    """Entry point of the console script."""
    app()
