"""Looks at a deployment before it is used: settings, permissions, quotas, Dagster. Each finding tells the cure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from dagster import DagsterInstance

from bedrock_assets.bedrock import Bedrock
from bedrock_assets.census import pool_limit
from bedrock_assets.cloudwatch import CloudWatch
from bedrock_assets.errors import BedrockAssetsError, BedrockError, MetricsUnavailable
from bedrock_assets.families import bare_id
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.store import Store

Verdict = Literal["ok", "warn", "fail", "unknown"]
PROBE = "doctor-probe"
HEARTBEAT_S = 300
"""Dagster's own daemons beat every 30 s."""
QUOTAS = {
    "max_jobs": "Sum of in-progress and submitted batch inference jobs using a base model for {}",
    "max_records_per_job": "Records per batch inference job for {}",
    "min_records_per_job": "Minimum number of records per batch inference job for {}",
}
"""Our limits, and the names of their quotas in Service Quotas. Source: Amazon Bedrock endpoints and quotas, 2026-11."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    """`unknown`: the check could not be made, and says why."""
    told: str
    cure: str = ""


@dataclass(frozen=True)
class Patient:
    """A deployment, and clients to look at it."""

    store: Store
    bedrock: Bedrock
    region: str | None
    client_of: Callable[[str], Any]
    """A boto3 client of a service."""
    on_aws: bool
    """Whether Bedrock's endpoint is AWS's own; an emulator has no identity, role or model card."""
    cloudwatch: CloudWatch | None = None
    """None where its metrics are not read."""


def examine(patient: Patient, pipelines: Sequence[Pipeline], instance: DagsterInstance | None) -> Iterator[Finding]:
    """All findings, as they are made."""
    yield _region(patient)
    yield _credentials(patient)
    yield _store(patient)
    yield _bucket(patient)
    yield _jobs(patient)
    yield _role(patient)
    quotas, trouble = _quotas(patient)
    for pipeline in pipelines:
        yield from _model(patient, pipeline, quotas, trouble)
    for model in sorted({pipeline.spec.model for pipeline in pipelines}):
        yield from _metrics(patient, model)
    yield from _dagster(instance, pipelines)


def _region(patient: Patient) -> Finding:
    if patient.region:
        return Finding("Region", "ok", patient.region)
    return Finding("Region", "fail", "no Region is set", "set AWS_REGION to the Region of the jobs")


def _credentials(patient: Patient) -> Finding:
    if not patient.on_aws:
        return Finding("credentials", "ok", f"none needed at {patient.bedrock.client.meta.endpoint_url}")
    try:
        caller = patient.client_of("sts").get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError) as error:
        return Finding("credentials", "fail", str(error), "log in (`aws sso login`), or set AWS_PROFILE or keys")
    account = caller.split(":")[4]
    if account != patient.bedrock.role_arn.split(":")[4]:
        cure = f"name a role of account {account} in BEDROCK_ASSETS_ROLE_ARN; Bedrock takes none of another account"
        return Finding("credentials", "fail", f"{caller} is of another account than the service role", cure)
    return Finding("credentials", "ok", caller)


def _store(patient: Patient) -> Finding:
    store, content = patient.store, b"written by bedrock-assets doctor"
    try:
        store.put(PROBE, content)
        found = store.get(PROBE)
        store.delete([PROBE])
    except BedrockAssetsError as error:
        return Finding("store", "fail", str(error), "create the bucket, and allow what `bedrock-assets iam` prints")
    if found != content:
        return Finding("store", "fail", f"{store.root} gives back other bytes than were written", "use another store")
    if store.is_local and patient.on_aws:
        cure = "set BEDROCK_ASSETS_STORE=s3://bucket/prefix"
        return Finding("store", "fail", f"{store.root} is a folder, which Amazon Bedrock cannot read", cure)
    return Finding("store", "ok", f"{store.root}: written, read and deleted")


def _bucket(patient: Patient) -> Finding:
    if patient.store.is_local:
        return Finding("bucket Region", "ok", "a local folder has none")
    bucket = patient.store.root.removeprefix("s3://").partition("/")[0]
    try:
        answer = patient.client_of("s3").head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        return Finding("bucket Region", "unknown", str(error), f"allow s3:ListBucket on {bucket}")
    region = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region and region != patient.region:
        cure = f"work in {region} (AWS_REGION), or use a bucket in {patient.region}: Bedrock reads no other Region's"
        return Finding("bucket Region", "fail", f"{bucket} is in {region}, the jobs in {patient.region}", cure)
    return Finding("bucket Region", "ok", f"{bucket} is in {region or patient.region}")


def _jobs(patient: Patient) -> Finding:
    try:
        now = datetime.now(UTC)
        n_in_flight = sum(job.status.in_flight for job in patient.bedrock.list(since=now - timedelta(days=7)))
    except BedrockError as error:
        return Finding("Bedrock", "fail", str(error), "allow what `bedrock-assets iam` prints under caller_policy")
    return Finding("Bedrock", "ok", f"lists jobs; {n_in_flight} are in flight")


def _role(patient: Patient) -> Finding:
    arn, check = patient.bedrock.role_arn, "service role"
    if not patient.on_aws:
        return Finding(check, "ok", f"{arn} (an emulator takes any)")
    try:
        role = patient.client_of("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        missing = error.response.get("Error", {}).get("Code") == "NoSuchEntity"
        cure = "create it: `bedrock-assets iam` prints its trust and policy" if missing else "allow iam:GetRole to look"
        return Finding(check, "fail" if missing else "unknown", str(error), cure)
    except BotoCoreError as error:
        return Finding(check, "unknown", str(error), "try again")
    trusted = [_services(statement) for statement in role["AssumeRolePolicyDocument"].get("Statement", [])]
    if not any("bedrock.amazonaws.com" in services for services in trusted):
        return Finding(check, "fail", f"{arn} does not trust Bedrock", "set the trust that `bedrock-assets iam` prints")
    return Finding(check, "ok", f"{arn} trusts Bedrock; that it may be passed shows when a job is created")


def _services(statement: Mapping[str, Any]) -> Sequence[str]:
    principal = statement.get("Principal", {})
    named = principal.get("Service", []) if isinstance(principal, dict) else []
    return [named] if isinstance(named, str) else named


def _quotas(patient: Patient) -> tuple[dict[str, float], str]:
    """Values by name, and why they could not be read."""
    try:
        pages = patient.client_of("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="bedrock")
        found = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
    except (BotoCoreError, ClientError) as error:
        return {}, str(error)
    return found, ""


def _model(patient: Patient, pipeline: Pipeline, quotas: Mapping[str, float], trouble: str) -> Iterator[Finding]:
    check, bare = f"model of {pipeline.spec.name}", bare_id(pipeline.spec.model)
    name = _display_name(patient, bare, quotas)
    if name is None:
        told = trouble or f"no batch quota is listed for {bare}"
        yield Finding(check, "unknown", told, "look it up in the console under Service Quotas, Amazon Bedrock")
        return
    yield Finding(check, "ok", f"{pipeline.spec.model} has batch quotas, as {name}")
    for limit, pattern in QUOTAS.items():
        quota, ours = quotas.get(pattern.format(name)), getattr(pipeline.spec.limits, limit)
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
    for pool in sorted({pipeline.spec.pool for pipeline in pipelines}):
        members = [pipeline for pipeline in pipelines if pipeline.spec.pool == pool]
        explicit = instance.event_log_storage.get_concurrency_info(pool).limit is not None
        limit = pool_limit(instance, pool, members)
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
