"""`bedrock-assets metrics`: an endpoint for Prometheus, with a dashboard and alert rules."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from bedrock_assets.cli.common import LocalHome, console, fail, session, warn

DEPLOY = files("bedrock_assets") / "deploy"
DASHBOARD, RULES = "grafana-dashboard.json", "prometheus-rules.yaml"
PATIENCE_S, PATIENCE_ONCE_S = 4.0, 60.0
"""Seconds that a scrape waits for Bedrock and the store; Prometheus gives up after 10, a person does not."""


def metrics(
    pipelines: Annotated[
        list[str] | None, typer.Argument(help="Pipelines and inboxes; all of defs/ if none is named.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve /metrics on; 0 takes a free one.")] = 9464,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines connect.")] = "127.0.0.1",
    every_s: Annotated[
        float, typer.Option(min=0, help="Fewest seconds between two calls to Bedrock, and to the store for inboxes.")
    ] = 30,
    once: Annotated[bool, typer.Option("--once", help="Print the metrics once, without serving them.")] = False,
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
    else:
        _serve(pipelines, host, port, every_s, home, once=once)


def _serve(names: list[str] | None, host: str, port: int, every_s: float, home: Path | None, *, once: bool) -> None:
    from bedrock_assets.components.load import specs_of
    from bedrock_assets.metrics.collector import DeploymentCollector
    from bedrock_assets.metrics.server import registry_of, serving, wait_for_the_end

    with session(home) as env:
        specs, regions = specs_of(names), env.regions
        with env.instance() as instance:
            patience_s = PATIENCE_ONCE_S if once else PATIENCE_S
            registry = registry_of(DeploymentCollector(specs, instance, regions, every_s, warn, patience_s))
            if once:
                from prometheus_client import generate_latest

                typer.echo(generate_latest(registry).decode(), nl=False)
                return
            with serving(registry, host, port) as url:
                message = f"metrics of {', '.join(spec.name for spec in specs)} at {url}; end with Ctrl-C"
                console.print(message, soft_wrap=True, highlight=False)
                wait_for_the_end(lambda: console.print("stopping"))
