"""Check a deployment before it is used: its regions, models, quotas and Dagster. Each result names the fix."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError
from dagster import DagsterInstance

from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.config.target import Target, bare_id
from bedrock_assets.errors import ConfigError, MetricsUnavailable
from bedrock_assets.jobs.observe import pool_limit
from bedrock_assets.operations.probes import CheckResult, Probe, run_probes
from bedrock_assets.pipeline.pipeline import Pipeline

HEARTBEAT_S = 300
"""Oldest heartbeat of a running daemon; Dagster's daemons send one every 30 s."""
QUOTAS = {
    "max_jobs": "Sum of in-progress and submitted batch inference jobs using a base model for {}",
    "max_records_per_job": "Records per batch inference job for {}",
    "min_records_per_job": "Minimum number of records per batch inference job for {}",
}
"""Our limits and their quotas in Service Quotas, by name. Source: Amazon Bedrock endpoints and quotas, 2026-11."""


def run_checks(
    probes: Mapping[Region, Probe], regions: Regions, pipelines: Sequence[Pipeline], instance: DagsterInstance | None
) -> Iterator[CheckResult]:
    """
    Run all checks, one after the other.

    Args:
        probes: For each region in use, the deployment's own first.
        instance: Dagster's, None if `DAGSTER_HOME` is not set.
    """
    for region, probe in probes.items():
        for result in run_probes(probe):
            yield result if region is regions.home else replace(result, check=f"{result.check} of {region}")
    quotas = {region: _quotas(probe) for region, probe in probes.items()}
    for pipeline in pipelines:
        for target in pipeline.spec.targets:
            try:
                region = regions.at(target)
            except ConfigError as error:
                yield CheckResult(f"model of {pipeline.spec.name}", "fail", str(error), "then run the check again")
            else:
                yield from _model(probes[region], pipeline, target, *quotas[region])
    for region, model in sorted(_models(regions, pipelines), key=str):
        yield from _metrics(probes[region], model)
    yield from _dagster(instance, pipelines)


def _models(regions: Regions, pipelines: Sequence[Pipeline]) -> set[tuple[Region, str]]:
    """All models in use, with their regions."""
    models = set[tuple[Region, str]]()
    for target in (target for pipeline in pipelines for target in pipeline.spec.targets):
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
    probe: Probe, pipeline: Pipeline, target: Target, quotas: Mapping[str, float], error: str
) -> Iterator[CheckResult]:
    check, bare = f"model of {pipeline.spec.name}", bare_id(target.model)
    name = _display_name(probe, bare, quotas)
    if name is None:
        message = error or f"Service Quotas lists no batch quota for {bare}"
        yield CheckResult(check, "unknown", message, "look it up in the console: Service Quotas, Amazon Bedrock")
        return
    yield CheckResult(check, "ok", f"{target.name} has batch quotas, listed as {name}")
    for limit, pattern in QUOTAS.items():
        quota, ours = quotas.get(pattern.format(name)), getattr(pipeline.spec.limits, limit)
        ours = target.max_jobs if target.max_jobs and limit == "max_jobs" else ours
        if quota is None:
            continue
        wrong = ours < quota if limit.startswith("min") else ours > quota
        message = f"limits.{limit} is {ours:,}; the quota is {quota:,.0f}"
        fix = f"set it to {quota:.0f} in the pipeline, or request a higher quota" if wrong else ""
        yield CheckResult(f"{limit} of {pipeline.spec.name}", "fail" if wrong else "ok", message, fix)


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


def _dagster(instance: DagsterInstance | None, pipelines: Sequence[Pipeline]) -> Iterator[CheckResult]:
    if instance is None:
        fix = "set DAGSTER_HOME, or name the folder of a local stack with --home"
        yield CheckResult("Dagster", "unknown", "DAGSTER_HOME is not set", fix)
        return
    for pool in sorted({pool for pipeline in pipelines for pool in pipeline.spec.pools}):
        explicit = instance.event_log_storage.get_concurrency_info(pool).limit is not None
        limit = pool_limit(instance, pool, [pipeline.spec for pipeline in pipelines])
        fix = "" if explicit else f"dagster instance concurrency set {pool} {limit}"
        message = f"{limit} jobs at once" + ("" if explicit else ", from limits.max_jobs: the pool has no limit")
        yield CheckResult(f"pool {pool}", "ok" if explicit else "warn", message, fix)
    monitored = instance.run_monitoring_enabled
    fix = "" if monitored else "set `run_monitoring: {enabled: true}` in dagster.yaml, or killed runs never end"
    yield CheckResult("run monitoring", "ok" if monitored else "warn", "on" if monitored else "off", fix)
    beat = instance.get_daemon_heartbeats().get("SENSOR")
    age = datetime.now(UTC).timestamp() - beat.timestamp if beat else None
    alive = age is not None and age < HEARTBEAT_S
    message = "no heartbeat" if age is None else f"last heartbeat {age:.0f} s ago"
    fix = "" if alive else "start it with `dagster-daemon run` or `dagster dev`; without it no job is submitted"
    yield CheckResult("sensor daemon", "ok" if alive else "fail", message, fix)
