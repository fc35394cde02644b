"""`bedrock-assets doctor`: checks of the account and the deployment."""

import dataclasses
import os
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from bedrock_assets.cli.common import Environment, Json, LocalHome, Names, console, print_json, say, session
from bedrock_assets.errors import ConfigError

if TYPE_CHECKING:
    from bedrock_assets.aws.regions import Region
    from bedrock_assets.config import WorkloadSpec
    from bedrock_assets.config.target import Target
    from bedrock_assets.errors import BedrockAssetsError
    from bedrock_assets.operations.probes import CheckResult

COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "cyan"}


def doctor(
    pipelines: Names = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Also create a job without input for each model, which shows whether it may run."),
    ] = False,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            help="Model that is known to run in batch, to compare with. Default: Titan Text Embeddings V2.",
        ),
    ] = None,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Check pipelines, inboxes, settings, permissions, quotas and Dagster; exit code 1 if a check fails.

    Example: AWS_PROFILE=prod bedrock-assets doctor call_summaries --probe
    """
    with session(home) as env:
        specs, errors = env.specs(pipelines, whole=True)
        results = _gather(env, specs, errors, are_all=not pipelines)
        if probe or control:
            results += _probe(env, specs, control)
    if as_json:
        print_json([dataclasses.asdict(result) for result in results])
    else:
        _show(results)
    if any(result.status == "fail" for result in results):
        raise typer.Exit(1)


def _gather(
    env: Environment, specs: "list[WorkloadSpec]", errors: "list[BedrockAssetsError]", *, are_all: bool
) -> "list[CheckResult]":
    from bedrock_assets.operations.doctor import checks_without_regions, run_checks
    from bedrock_assets.operations.probes import CheckResult, Probe

    # A file that Dagster itself cannot read takes all of the code location away; of others the pipelines stay.
    fix = "correct the file, then reload the code location; `dg check defs` tells whether the others are loaded"
    wrong = [CheckResult("defs.yaml", "fail", str(error), fix) for error in errors]
    with env.instance() if os.environ.get("DAGSTER_HOME") else nullcontext() as instance:
        try:
            _ = env.regions
        except ConfigError as error:
            return [*wrong, *checks_without_regions(error, env.store, specs, instance)]
    used = env.regions.used_by((target for spec in specs for target in spec.targets), strict=False)
    probes = {region: Probe.of(region, env.store, env.bedrock) for region in used.all}
    with env.instance() if os.environ.get("DAGSTER_HOME") else nullcontext() as instance:
        return [*wrong, *run_checks(probes, env.regions, specs, instance, are_all=are_all)]


def _probe(env: Environment, specs: "list[WorkloadSpec]", control: str | None) -> "list[CheckResult]":
    from bedrock_assets.operations.batch_support import CONTROL, probe_batch

    found: dict[Region, dict[str, Target]] = {}
    for target in (target for spec in specs for target in spec.targets):
        with suppress(ConfigError):  # a Region that is not named is told already
            found.setdefault(env.regions.at(target), {})[target.name] = target
    return [
        result
        for region, targets in found.items()
        for result in probe_batch(region, region.store or env.store, list(targets.values()), control or CONTROL)
    ]


def _show(results: "list[CheckResult]") -> None:
    for result in results:
        verdict = f"[{COLORS[result.status]}]{result.status:<7}[/]"
        console.print(f"{verdict} [bold]{result.check}[/bold]: ", end="")
        say(result.message)
        if result.fix:
            console.print(f"        {result.fix}", markup=False, highlight=False, style="dim", soft_wrap=True)
