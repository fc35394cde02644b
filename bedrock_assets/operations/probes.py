"""Check one region of a deployment: settings, permissions, service role. Each result names the fix."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.aws.cloudwatch import CloudWatch
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.regions import Region
from bedrock_assets.errors import BedrockAssetsError, BedrockError
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.storage.store import Store

CheckStatus = Literal["ok", "warn", "fail", "unknown"]
PROBE = "doctor-probe"


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    check: str
    status: CheckStatus
    """`unknown`: the check was not possible; the message says why."""
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Probe:
    """One region of a deployment, with the clients that check it."""

    store: Store
    bedrock: Bedrock
    region: str | None
    client_of: Callable[[str], Any]
    """Returns the boto3 client of a service."""
    on_aws: bool
    """Whether Bedrock's endpoint is AWS's own. An emulator has no identity, role or model card."""
    cloudwatch: CloudWatch | None = None
    """None if its metrics are not read."""

    @classmethod
    def of(cls, region: Region, store: Store, bedrock: BedrockResource) -> "Probe":
        """
        The probe of a region.

        Args:
            store: The deployment's store, for a region that has none of its own.
        """
        on_aws = "amazonaws." in region.bedrock.client.meta.endpoint_url
        clients, cloudwatch = bedrock.session(region).client, bedrock.open_cloudwatch(region)
        return cls(region.store or store, region.bedrock, region.name, clients, on_aws, cloudwatch)


def run_probes(probe: Probe) -> Iterator[CheckResult]:
    """Run all checks of one region."""
    for check in (_region, _credentials, _store, _bucket, _encryption, _jobs, _role):
        result = check(probe)
        if result is not None:
            yield result


def _region(probe: Probe) -> CheckResult:
    if probe.region:
        return CheckResult("Region", "ok", probe.region)
    return CheckResult("Region", "fail", "no Region is set", "set AWS_REGION to the Region of your jobs")


def _credentials(probe: Probe) -> CheckResult:
    if not probe.on_aws:
        return CheckResult("credentials", "ok", f"not needed at {probe.bedrock.client.meta.endpoint_url}")
    try:
        caller = probe.client_of("sts").get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError) as error:
        return CheckResult("credentials", "fail", str(error), "run `aws sso login`, or set AWS_PROFILE or keys")
    account = caller.split(":")[4]
    if account != probe.bedrock.role_arn.split(":")[4]:
        fix = f"set BEDROCK_ASSETS_ROLE_ARN to a role of account {account}: Bedrock accepts no role of another account"
        return CheckResult("credentials", "fail", f"{caller} and the service role are in different accounts", fix)
    return CheckResult("credentials", "ok", caller)


def _store(probe: Probe) -> CheckResult:
    return check_store(probe.store, on_aws=probe.on_aws)


def check_store(store: Store, *, on_aws: bool) -> CheckResult:
    """
    Whether the store can be written, read and deleted from.

    Args:
        on_aws: Whether Bedrock's endpoint is AWS's own, which reads no local folder.
    """
    content = b"written by bedrock-assets doctor"
    try:
        store.put(PROBE, content)
        stored = store.get(PROBE)
        store.delete([PROBE])
    except BedrockAssetsError as error:
        fix = "create the bucket, and allow the permissions that `bedrock-assets iam` prints"
        return CheckResult("store", "fail", str(error), fix)
    if stored != content:
        message = f"{store.root} returned different bytes than were written"
        return CheckResult("store", "fail", message, "use another store")
    if store.is_local and on_aws:
        fix = "set BEDROCK_ASSETS_STORE=s3://bucket/prefix"
        return CheckResult("store", "fail", f"{store.root} is a local folder, which Amazon Bedrock cannot read", fix)
    return CheckResult("store", "ok", f"{store.root}: written, read and deleted")


def _bucket(probe: Probe) -> CheckResult:
    if probe.store.is_local:
        return CheckResult("bucket Region", "ok", "not needed for a local folder")
    bucket, owner = probe.store.s3.bucket, probe.store.bucket_owner
    try:
        expected = {"ExpectedBucketOwner": owner} if owner else {}
        answer = probe.client_of("s3").head_bucket(Bucket=bucket, **expected)
    except (BotoCoreError, ClientError) as error:
        fix = f"allow s3:ListBucket on {bucket}"
        if owner:
            fix += f", and check that account {owner} owns it (BEDROCK_ASSETS_BUCKET_OWNER)"
        return CheckResult("bucket Region", "unknown", str(error), fix)
    region = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region and region != probe.region:
        fix = f"set AWS_REGION={region}, or use a bucket in {probe.region}: Bedrock reads only buckets of its Region"
        return CheckResult("bucket Region", "fail", f"{bucket} is in {region}, but the jobs are in {probe.region}", fix)
    return CheckResult("bucket Region", "ok", f"{bucket} is in {region or probe.region}")


def _encryption(probe: Probe) -> CheckResult | None:
    """Whether the store encrypts with the key that is set; behind an alias any key is accepted."""
    check, store = "encryption", probe.store
    key_arn = store.kms_key_arn
    if key_arn is None or store.is_local:
        return None
    try:
        store.put(PROBE, b"written by bedrock-assets doctor")
        used = store.s3.key_of(PROBE)
        store.delete([PROBE])
    except (BedrockAssetsError, BotoCoreError, ClientError) as error:
        return CheckResult(check, "fail", str(error), "allow kms:GenerateDataKey and kms:Decrypt on the key")
    if used is None or ("alias/" not in key_arn and used != key_arn):
        message = f"files are encrypted with {used or 'no key'}, not with {key_arn}"
        return CheckResult(check, "fail", message, "use a server that has the key")
    return CheckResult(check, "ok", f"files are encrypted with {used}")


def _jobs(probe: Probe) -> CheckResult:
    try:
        now = datetime.now(UTC)
        n_in_flight = sum(job.status.in_flight for job in probe.bedrock.list(since=now - timedelta(days=7)))
    except BedrockError as error:
        started = "start the local stack again: `bedrock-assets dev`, with the same --home"
        allowed = "allow the caller_policy that `bedrock-assets iam` prints"
        return CheckResult("Bedrock", "fail", str(error), allowed if probe.on_aws else started)
    return CheckResult("Bedrock", "ok", f"jobs can be listed; {n_in_flight} in flight")


def _role(probe: Probe) -> CheckResult:
    arn, check = probe.bedrock.role_arn, "service role"
    if not probe.on_aws:
        return CheckResult(check, "ok", f"{arn} (an emulator accepts any role)")
    try:
        role = probe.client_of("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        missing = error.response.get("Error", {}).get("Code") == "NoSuchEntity"
        fix = "create it: `bedrock-assets iam` prints its trust and policy" if missing else "allow iam:GetRole"
        return CheckResult(check, "fail" if missing else "unknown", str(error), fix)
    except BotoCoreError as error:
        return CheckResult(check, "unknown", str(error), "try again")
    statements: Sequence[Any] = role["AssumeRolePolicyDocument"].get("Statement", [])
    trusting = [statement for statement in statements if "bedrock.amazonaws.com" in _services(statement)]
    fix = f"set the trust policy that `bedrock-assets iam --region {probe.region}` prints"
    if not trusting:
        return CheckResult(check, "fail", f"{arn} does not trust Bedrock", fix)
    job = f"arn:aws:bedrock:{probe.region}:{arn.split(':')[4]}:model-invocation-job/x"
    if not any(fnmatchcase(job, "arn:aws:" + source.split(":", 2)[2]) for s in trusting for source in _sources(s)):
        return CheckResult(check, "fail", f"{arn} trusts Bedrock, but not for jobs in {probe.region}", fix)
    return CheckResult(check, "ok", f"{arn} trusts Bedrock; iam:PassRole is only checked when a job is created")


def _services(statement: Mapping[str, Any]) -> Sequence[str]:
    principal = statement.get("Principal", {})
    named = principal.get("Service", []) if isinstance(principal, dict) else []
    return [named] if isinstance(named, str) else named


def _sources(statement: Mapping[str, Any]) -> Sequence[str]:
    """ARN patterns of the jobs that a statement trusts."""
    conditions: Sequence[Mapping[str, Any]] = list(statement.get("Condition", {}).values())
    arns = [value for one in conditions for key, value in one.items() if key.lower() == "aws:sourcearn"]
    return [arn for value in arns for arn in ([value] if isinstance(value, str) else value)] or ["arn:aws:*"]
