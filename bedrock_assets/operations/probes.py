"""A place of a deployment, looked at before it is used: settings, permissions, role. Each finding tells the cure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.aws.batch import Bedrock
from bedrock_assets.aws.cloudwatch import CloudWatch
from bedrock_assets.aws.regions import Place
from bedrock_assets.errors import BedrockAssetsError, BedrockError
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.storage.store import Store

Verdict = Literal["ok", "warn", "fail", "unknown"]
PROBE = "doctor-probe"


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

    @classmethod
    def of(cls, place: Place, store: Store, bedrock: BedrockResource) -> "Patient":
        """
        A place of a deployment.

        Args:
            store: The deployment's own.
        """
        on_aws = "amazonaws." in place.bedrock.client.meta.endpoint_url
        clients, cloudwatch = bedrock.session(place).client, bedrock.open_cloudwatch(place)
        return cls(place.store or store, place.bedrock, place.region, clients, on_aws, cloudwatch)


def look_at(patient: Patient) -> Iterator[Finding]:
    """What there is to say of one place."""
    for look in (_region, _credentials, _store, _bucket, _encryption, _jobs, _role):
        found = look(patient)
        if found is not None:
            yield found


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
    bucket, owner = patient.store.s3.bucket, patient.store.bucket_owner
    try:
        expected = {"ExpectedBucketOwner": owner} if owner else {}
        answer = patient.client_of("s3").head_bucket(Bucket=bucket, **expected)
    except (BotoCoreError, ClientError) as error:
        cure = f"allow s3:ListBucket on {bucket}"
        if owner:
            cure += f"; if it is allowed, the bucket is not account {owner}'s (BEDROCK_ASSETS_BUCKET_OWNER)"
        return Finding("bucket Region", "unknown", str(error), cure)
    region = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region and region != patient.region:
        cure = f"work in {region} (AWS_REGION), or use a bucket in {patient.region}: Bedrock reads no other Region's"
        return Finding("bucket Region", "fail", f"{bucket} is in {region}, the jobs in {patient.region}", cure)
    return Finding("bucket Region", "ok", f"{bucket} is in {region or patient.region}")


def _encryption(patient: Patient) -> Finding | None:
    """Whether the server has written a file under the key that is set; an alias stands for one that it names."""
    check, store = "encryption", patient.store
    key_arn = store.kms_key_arn
    if key_arn is None or store.is_local:
        return None
    try:
        store.put(PROBE, b"written by bedrock-assets doctor")
        found = store.s3.key_of(PROBE)
        store.delete([PROBE])
    except (BedrockAssetsError, BotoCoreError, ClientError) as error:
        return Finding(check, "fail", str(error), "allow kms:GenerateDataKey and kms:Decrypt on the key")
    if found is None or ("alias/" not in key_arn and found != key_arn):
        return Finding(
            check, "fail", f"a file is written under {found}, not {key_arn}", "use a server that has the key"
        )
    return Finding(check, "ok", f"files are written under {found}")


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
    statements: Sequence[Any] = role["AssumeRolePolicyDocument"].get("Statement", [])
    trusting = [statement for statement in statements if "bedrock.amazonaws.com" in _services(statement)]
    cure = f"set the trust that `bedrock-assets iam --region {patient.region}` prints"
    if not trusting:
        return Finding(check, "fail", f"{arn} does not trust Bedrock", cure)
    job = f"arn:aws:bedrock:{patient.region}:{arn.split(':')[4]}:model-invocation-job/x"
    if not any(fnmatchcase(job, "arn:aws:" + source.split(":", 2)[2]) for s in trusting for source in _sources(s)):
        return Finding(check, "fail", f"{arn} trusts Bedrock, but for no jobs in {patient.region}", cure)
    return Finding(check, "ok", f"{arn} trusts Bedrock; that it may be passed shows when a job is created")


def _services(statement: Mapping[str, Any]) -> Sequence[str]:
    principal = statement.get("Principal", {})
    named = principal.get("Service", []) if isinstance(principal, dict) else []
    return [named] if isinstance(named, str) else named


def _sources(statement: Mapping[str, Any]) -> Sequence[str]:
    """Patterns of the jobs that a statement trusts."""
    conditions: Sequence[Mapping[str, Any]] = list(statement.get("Condition", {}).values())
    found = [value for one in conditions for key, value in one.items() if key.lower() == "aws:sourcearn"]
    return [p for value in found for p in ([value] if isinstance(value, str) else value)] or ["arn:aws:*"]
