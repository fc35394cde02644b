"""The command `bedrock-assets metrics`: an endpoint for Prometheus, and what to look at its metrics with."""

from importlib.resources import files
from typing import Annotated

import typer

from bedrock_assets.cli.common import (
    LocalHome,
    bedrock_resource,
    console,
    errors,
    fail,
    notes_console,
    open_instance,
    open_store,
    use,
)

DEPLOY = files("bedrock_assets") / "deploy"
DASHBOARD, RULES = "grafana-dashboard.json", "prometheus-rules.yaml"


def metrics(
    pipelines: Annotated[
        list[str] | None, typer.Argument(help="Pipelines and inboxes; all of defs/ without any.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve /metrics on; 0 takes a free one.")] = 9464,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other machines reach it only if told.")
    ] = "127.0.0.1",
    every_s: Annotated[
        float, typer.Option(min=0, help="Seconds for which Bedrock's list of jobs, and an inbox's files, hold.")
    ] = 30,
    once: Annotated[bool, typer.Option("--once", help="Print the metrics once, and serve nothing.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Print a Grafana dashboard.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Print alert rules for Prometheus.")] = False,
    home: LocalHome = None,
) -> None:
    """
    Serve metrics of shards, jobs, slots, tokens and sensors for Prometheus, until Ctrl-C.

    Example: bedrock-assets metrics --port 9464
    """
    if dashboard and rules:
        fail("name one of --dashboard and --rules", 2)
    if dashboard or rules:
        typer.echo((DEPLOY / (DASHBOARD if dashboard else RULES)).read_text("utf-8"), nl=False)
        return
    from bedrock_assets.metrics.collector import DeploymentCollector
    from bedrock_assets.metrics.server import registry_of, serving, wait_for_the_end
    from bedrock_assets.pipeline.load import specs_of

    with errors():
        use(home)
        specs, store = specs_of(pipelines), open_store()
        regions = bedrock_resource().open(store, local=True)
        with open_instance() as instance:
            patience_s = 60.0 if once else 4.0  # nobody gives up on a command
            deployment = DeploymentCollector(specs, instance, regions, every_s, _warn, patience_s)
            registry = registry_of(deployment)
            if once:
                from prometheus_client import generate_latest

                typer.echo(generate_latest(registry).decode(), nl=False)
                return
            with serving(registry, host, port) as url:
                told = f"metrics of {', '.join(spec.name for spec in specs)} at {url}; end with Ctrl-C"
                console.print(told, soft_wrap=True, highlight=False)
                wait_for_the_end(lambda: console.print("stopping"))


def _warn(message: str) -> None:
    notes_console.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
