"""`bedrock-assets doctor`: checks of the account and the deployment."""

import dataclasses
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    Names,
    bedrock_resource,
    console,
    open_instance,
    open_store,
    pipelines_of,
    print_json,
    say,
    session,
)

if TYPE_CHECKING:
    from bedrock_assets.operations.probes import CheckResult

COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "cyan"}


def doctor(pipelines: Names = None, home: LocalHome = None, as_json: Json = False) -> None:
    """
    Check settings, permissions, quotas and Dagster; exit code 1 if a check fails.

    Example: AWS_PROFILE=prod bedrock-assets doctor call_summaries
    """
    with session(home):
        results = _gather(pipelines)
    if as_json:
        print_json([dataclasses.asdict(result) for result in results])
    else:
        _show(results)
    if any(result.verdict == "fail" for result in results):
        raise typer.Exit(1)


def _gather(names: list[str] | None) -> "list[CheckResult]":
    from bedrock_assets.operations.doctor import run_checks
    from bedrock_assets.operations.probes import Probe

    pipelines, store, resource = pipelines_of(names), open_store(), bedrock_resource()
    regions = resource.open(store, local=True)
    used = regions.used_by((target for pipeline in pipelines for target in pipeline.spec.targets), strict=False)
    probes = {region: Probe.of(region, store, resource) for region in used.all}
    with open_instance() if os.environ.get("DAGSTER_HOME") else nullcontext() as instance:
        return list(run_checks(probes, regions, pipelines, instance))


def _show(results: "list[CheckResult]") -> None:
    for result in results:
        verdict = f"[{COLORS[result.verdict]}]{result.verdict:<7}[/]"
        console.print(f"{verdict} [bold]{result.check}[/bold]: ", end="")
        say(result.told)
        if result.fix:
            console.print(f"        {result.fix}", markup=False, highlight=False, style="dim", soft_wrap=True)
