"""Looks at a deployment before it is used: its places, quotas, Dagster. Each finding tells the cure."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError
from dagster import DagsterInstance

from bedrock_assets.aws.regions import Place, Places
from bedrock_assets.config.target import Target, bare_id
from bedrock_assets.errors import ConfigError, MetricsUnavailable
from bedrock_assets.jobs.observe import pool_limit
from bedrock_assets.operations.probes import Finding, Patient, look_at
from bedrock_assets.pipeline.records import Pipeline

HEARTBEAT_S = 300
"""Dagster's own daemons beat every 30 s."""
QUOTAS = {
    "max_jobs": "Sum of in-progress and submitted batch inference jobs using a base model for {}",
    "max_records_per_job": "Records per batch inference job for {}",
    "min_records_per_job": "Minimum number of records per batch inference job for {}",
}
"""Our limits, and the names of their quotas in Service Quotas. Source: Amazon Bedrock endpoints and quotas, 2026-11."""


def examine(
    patients: Mapping[Place, Patient], places: Places, pipelines: Sequence[Pipeline], instance: DagsterInstance | None
) -> Iterator[Finding]:
    """
    All findings, as they are made.

    Args:
        patients: Each of *places*, the deployment's own first.
    """
    for place, patient in patients.items():
        for found in look_at(patient):
            yield found if place is places.home else replace(found, check=f"{found.check} of {place}")
    quotas = {place: _quotas(patient) for place, patient in patients.items()}
    for pipeline in pipelines:
        for target in pipeline.spec.targets:
            try:
                place = places.at(target)
            except ConfigError as error:
                yield Finding(f"model of {pipeline.spec.name}", "fail", str(error), "then look again")
            else:
                yield from _model(patients[place], pipeline, target, *quotas[place])
    for place, model in sorted(_asked(places, pipelines), key=str):
        yield from _metrics(patients[place], model)
    yield from _dagster(instance, pipelines)


def _asked(places: Places, pipelines: Sequence[Pipeline]) -> set[tuple[Place, str]]:
    """Each model, and where it is."""
    found = set[tuple[Place, str]]()
    for target in (target for pipeline in pipelines for target in pipeline.spec.targets):
        with suppress(ConfigError):
            found.add((places.at(target), target.model))
    return found


def _quotas(patient: Patient) -> tuple[dict[str, float], str]:
    """Values by name, and why they could not be read."""
    try:
        pages = patient.client_of("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="bedrock")
        found = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
    except (BotoCoreError, ClientError) as error:
        return {}, str(error)
    return found, ""


def _model(
    patient: Patient, pipeline: Pipeline, target: Target, quotas: Mapping[str, float], trouble: str
) -> Iterator[Finding]:
    check, bare = f"model of {pipeline.spec.name}", bare_id(target.model)
    name = _display_name(patient, bare, quotas)
    if name is None:
        told = trouble or f"no batch quota is listed for {bare}"
        yield Finding(check, "unknown", told, "look it up in the console under Service Quotas, Amazon Bedrock")
        return
    yield Finding(check, "ok", f"{target.name} has batch quotas, as {name}")
    for limit, pattern in QUOTAS.items():
        quota, ours = quotas.get(pattern.format(name)), getattr(pipeline.spec.limits, limit)
        ours = target.max_jobs if target.max_jobs and limit == "max_jobs" else ours
        if quota is None:
            continue
        wrong = ours < quota if limit.startswith("min") else ours > quota
        told = f"limits.{limit} is {ours:,}, the quota {quota:,.0f}"
        cure = f"set it to {quota:.0f} in the pipeline, or ask for a higher quota" if wrong else ""
        yield Finding(f"{limit} of {pipeline.spec.name}", "fail" if wrong else "ok", told, cure)


def _display_name(patient: Patient, model: str, quotas: Mapping[str, float]) -> str | None:
    """The name under which a model's quotas are listed: the one on its card, or the one that its id spells."""
    head = QUOTAS["max_jobs"].removesuffix("{}")
    names = [name.removeprefix(head) for name in quotas if name.startswith(head)]
    if patient.on_aws:
        try:
            card = patient.client_of("bedrock").get_foundation_model(modelIdentifier=model)["modelDetails"]
        except (BotoCoreError, ClientError):
            card = {}
        if card.get("modelName") in names:
            return str(card["modelName"])
    spelled = [name for name in names if _words(name) <= _words(model)]
    return max(spelled, key=len, default=None)


def _words(text: str) -> set[str]:
    plain = text.lower().replace("embeddings", "embed").replace("embedding", "embed")
    return set("".join(char if char.isalnum() else " " for char in plain).split())


def _metrics(patient: Patient, model: str) -> Iterator[Finding]:
    if patient.cloudwatch is None:
        return
    check = f"CloudWatch of {model}"
    try:
        reading = patient.cloudwatch.read(model)
    except MetricsUnavailable as error:
        cure = "allow what `bedrock-assets iam --cloudwatch` prints, or unset BEDROCK_ASSETS_CLOUDWATCH"
        yield Finding(check, "warn", str(error), cure)
    else:
        yield Finding(check, "ok", str(reading or "may be read; has no metrics of the last minutes"))


def _dagster(instance: DagsterInstance | None, pipelines: Sequence[Pipeline]) -> Iterator[Finding]:
    if instance is None:
        cure = "set DAGSTER_HOME, or name a local stack with --home"
        yield Finding("Dagster", "unknown", "no instance is named", cure)
        return
    for pool in sorted({pool for pipeline in pipelines for pool in pipeline.spec.pools}):
        explicit = instance.event_log_storage.get_concurrency_info(pool).limit is not None
        limit = pool_limit(instance, pool, pipelines)
        cure = "" if explicit else f"dagster instance concurrency set {pool} {limit}"
        told = f"{limit} jobs at once" + ("" if explicit else ", by limits.max_jobs: the pool has no limit of its own")
        yield Finding(f"pool {pool}", "ok" if explicit else "warn", told, cure)
    monitored = instance.run_monitoring_enabled
    cure = "" if monitored else "set run_monitoring: {enabled: true} in dagster.yaml, or killed runs stay started"
    yield Finding("run monitoring", "ok" if monitored else "warn", "on" if monitored else "off", cure)
    beat = instance.get_daemon_heartbeats().get("SENSOR")
    age = datetime.now(UTC).timestamp() - beat.timestamp if beat else None
    alive = age is not None and age < HEARTBEAT_S
    told = "never seen" if age is None else f"seen {age:.0f} s ago"
    cure = "" if alive else "start it: `dagster-daemon run`, or `dagster dev`; without it nothing is submitted"
    yield Finding("sensor daemon", "ok" if alive else "fail", told, cure)
