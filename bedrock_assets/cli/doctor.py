"""`bedrock-assets doctor`: checks of the account and the deployment."""

import dataclasses
import os
from typing import TYPE_CHECKING

import typer

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    bedrock_resource,
    console,
    errors,
    open_instance,
    open_store,
    print_json,
    use,
)

if TYPE_CHECKING:
    pass
from bedrock_assets.cli.common import Names, pipelines_of

COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "cyan"}


def doctor(pipelines: Names = None, home: LocalHome = None, as_json: Json = False) -> None:
    """
    Check settings, permissions, quotas and Dagster; exit code 1 if a check fails.

    Example: AWS_PROFILE=prod bedrock-assets doctor call_summaries
    """
    from bedrock_assets.operations.doctor import run_checks
    from bedrock_assets.operations.probes import CheckResult, Probe

    found: list[CheckResult] = []
    with errors():
        use(home)
        chosen, store, resource = pipelines_of(pipelines), open_store(), bedrock_resource()
        regions = resource.open(store, local=True)
        used = regions.used_by((target for one in chosen for target in one.spec.targets), strict=False)
        probes = {region: Probe.of(region, store, resource) for region in used.all}
        if os.environ.get("DAGSTER_HOME"):
            with open_instance() as instance:
                found = list(run_checks(probes, regions, chosen, instance))
        else:
            found = list(run_checks(probes, regions, chosen, None))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in found])
    else:
        for finding in found:
            status = f"[{COLORS[finding.status]}]{finding.status:<7}[/]"
            console.print(f"{status} [bold]{finding.check}[/bold]: ", end="")
            console.print(finding.message, markup=False, highlight=False, soft_wrap=True)
            if finding.fix:
                console.print(f"        {finding.fix}", markup=False, highlight=False, style="dim", soft_wrap=True)
    if any(finding.status == "fail" for finding in found):
        raise typer.Exit(1)
