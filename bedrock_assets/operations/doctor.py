"""Check a deployment before it is used: its regions, models, quotas and Dagster. Each result names the fix."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError
from dagster import DagsterInstance

from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.config.target import Target, bare_id
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import ConfigError, MetricsUnavailable, RetiredModel
from bedrock_assets.families import notices, require_living
from bedrock_assets.operations.dagster_checks import run_dagster_checks
from bedrock_assets.operations.probes import CheckResult, Probe, check_store, run_probes
from bedrock_assets.storage.store import Store

QUOTAS = {
    "max_jobs": "Sum of in-progress and submitted batch inference jobs using a base model for {}",
    "max_records_per_job": "Records per batch inference job for {}",
    "min_records_per_job": "Minimum number of records per batch inference job for {}",
}
"""Our limits and their quotas in Service Quotas, by name. Source: Amazon Bedrock endpoints and quotas, 2026-11."""


def run_checks(
    probes: Mapping[Region, Probe],
    regions: Regions,
    specs: Sequence[WorkloadSpec],
    instance: DagsterInstance | None,
    *,
    are_all: bool = True,
) -> Iterator[CheckResult]:
    """
    Run all checks, one after the other.

    Args:
        probes: For each region in use, the deployment's own first.
        instance: Dagster's, None if `DAGSTER_HOME` is not set.
        are_all: Whether *specs* are those of all pipelines and inboxes.
    """
    for region, probe in probes.items():
        for result in run_probes(probe):
            yield result if region is regions.home else replace(result, check=f"{result.check} of {region}")
    quotas = {region: _quotas(probe) for region, probe in probes.items()}
    for spec in specs:
        yield from _facts(spec)
        for target in spec.targets:
            try:
                region = regions.at(target)
            except ConfigError as error:
                yield CheckResult(f"model of {spec.name}", "fail", str(error), "then run the check again")
            else:
                yield from _model(probes[region], spec, target, *quotas[region])
    for region, model in sorted(_models(regions, specs), key=str):
        yield from _metrics(probes[region], model)
    yield from run_dagster_checks(instance, regions, specs, are_all=are_all)


def checks_without_regions(
    error: ConfigError, store: Store, specs: Sequence[WorkloadSpec], instance: DagsterInstance | None
) -> Iterator[CheckResult]:
    """
    Run the checks that need no Region.

    Args:
        error: Why no Region can be opened.
    """
    fix = "set AWS_REGION, or name the folder of a local stack: --home bedrock-assets-dev"
    yield CheckResult("Region", "fail", str(error), fix)
    yield check_store(store, on_aws=False)
    for spec in specs:
        yield from _facts(spec)
    yield from run_dagster_checks(instance, None, specs)


def _facts(spec: WorkloadSpec) -> Iterator[CheckResult]:
    """What the catalogue of models says of a pipeline's models."""
    check, today = f"model of {spec.name}", datetime.now(UTC).date()
    fix = "choose a living model (`bedrock-assets models`), or set `on_retired: warn` if the account may still use it"
    try:
        require_living(spec, today)
    except RetiredModel as error:
        yield CheckResult(check, "fail", str(error), fix)
        return
    for notice in notices(spec, today):
        yield CheckResult(check, "warn", notice)


def _models(regions: Regions, specs: Sequence[WorkloadSpec]) -> set[tuple[Region, str]]:
    """All models in use, with their regions."""
    models = set[tuple[Region, str]]()
    for target in (target for spec in specs for target in spec.targets):
        with suppress(ConfigError):
            models.add((regions.at(target), target.model))
    return models


def _quotas(probe: Probe) -> tuple[dict[str, float], str]:
    """Values by the names of quotas, and the error if they cannot be read."""
    try:
        pages = probe.client_of("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="bedrock")
        return {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}, ""
    except (BotoCoreError, ClientError) as error:
        return {}, str(error)


def _model(
    probe: Probe, spec: WorkloadSpec, target: Target, quotas: Mapping[str, float], error: str
) -> Iterator[CheckResult]:
    check, bare = f"model of {spec.name}", bare_id(target.model)
    name = _display_name(probe, bare, quotas)
    if name is None:
        message = error or f"Service Quotas lists no batch quota for {bare}"
        yield CheckResult(check, "unknown", message, "look it up in the console: Service Quotas, Amazon Bedrock")
        return
    yield CheckResult(check, "ok", f"{target.name} has batch quotas, listed as {name}")
    for limit, pattern in QUOTAS.items():
        quota, ours = quotas.get(pattern.format(name)), getattr(spec.limits, limit)
        ours = target.max_jobs if target.max_jobs and limit == "max_jobs" else ours
        if quota is None:
            continue
        wrong = ours < quota if limit.startswith("min") else ours > quota
        message = f"limits.{limit} is {ours:,}; the quota is {quota:,.0f}"
        fix = f"set it to {quota:.0f} in the pipeline, or request a higher quota" if wrong else ""
        yield CheckResult(f"{limit} of {spec.name}", "fail" if wrong else "ok", message, fix)


def _display_name(probe: Probe, model: str, quotas: Mapping[str, float]) -> str | None:
    """The name under which a model's quotas are listed: from its model card, or else by the words of its id."""
    head = QUOTAS["max_jobs"].removesuffix("{}")
    names = [name.removeprefix(head) for name in quotas if name.startswith(head)]
    if probe.on_aws:
        try:
            card = probe.client_of("bedrock").get_foundation_model(modelIdentifier=model)["modelDetails"]
        except (BotoCoreError, ClientError):
            card = {}
        if card.get("modelName") in names:
            return str(card["modelName"])
    return max((name for name in names if _words(name) <= _words(model)), key=len, default=None)


def _words(text: str) -> set[str]:
    plain = text.lower().replace("embeddings", "embed").replace("embedding", "embed")
    return set("".join(char if char.isalnum() else " " for char in plain).split())


def _metrics(probe: Probe, model: str) -> Iterator[CheckResult]:
    if probe.cloudwatch is None:
        return
    check = f"CloudWatch of {model}"
    try:
        reading = probe.cloudwatch.read(model)
    except MetricsUnavailable as error:
        fix = "allow the permissions that `bedrock-assets iam --cloudwatch` prints, or unset BEDROCK_ASSETS_CLOUDWATCH"
        yield CheckResult(check, "warn", str(error), fix)
    else:
        yield CheckResult(check, "ok", str(reading or "readable, but there are no metrics of the last minutes"))
