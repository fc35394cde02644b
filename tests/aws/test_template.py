"""The CloudFormation template: it is sound, its permissions are iam.py's, and a stack of it comes and goes."""

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from typer.testing import CliRunner

from bedrock_assets.aws.iam import Deployment, caller_policy, doctor_policy, role_policy, role_trust
from bedrock_assets.aws.job_events import PATTERN
from bedrock_assets.cli.app import app
from bedrock_assets.cli.aws import TEMPLATE
from bedrock_assets.storage.store import Store
from tests.emulator.worlds import KEY, REGION, S3

TEXT = TEMPLATE.read_text("utf-8")
FOREIGN_KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
FOREIGN_ROLE = "arn:aws:iam::123456789012:role/teams/ml/bedrock-batch"
EVENT = {
    "Source": "aws.bedrock",
    "DetailType": "Batch Inference Job State Change",
    "Detail": json.dumps({"batchJobName": "ba-calls-0", "status": "Completed"}),
}


@dataclass
class Account:
    """An account of moto's, and stacks in it."""

    server: S3

    def client(self, service: str) -> Any:
        """A client of a service of the account."""
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY}
        return boto3.Session().client(service, endpoint_url=self.server.url, region_name=REGION, **keys)

    @cached_property
    def cloudformation(self) -> Any:
        return self.client("cloudformation")

    def create(self, **parameters: str) -> dict[str, str]:
        """Create the stack, and tell its outputs."""
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        self.cloudformation.create_stack(StackName="batch", TemplateBody=TEXT, Parameters=given)
        (stack,) = self.cloudformation.describe_stacks(StackName="batch")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def resources(self) -> set[str]:
        """The stack's resources, as the template names them."""
        found = self.cloudformation.list_stack_resources(StackName="batch")["StackResourceSummaries"]
        names = {resource.get("LogicalResourceId") for resource in found}
        return {name for name in names if name}  # moto lists those whose condition is false without a name

    def policy(self, arn: str) -> dict[str, Any]:
        """A managed policy's document."""
        version = self.client("iam").get_policy_version(PolicyArn=arn, VersionId="v1")
        return version["PolicyVersion"]["Document"]

    def key_arn(self) -> str:
        """The account's only key."""
        (key,) = self.client("kms").list_keys()["Keys"]
        return key["KeyArn"]

    def queue_arn(self, url: str) -> str:
        """A queue's ARN."""
        return self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]

    def role_policies(self, arn: str) -> list[dict[str, Any]]:
        """All documents that say what a role may do."""
        iam, name = self.client("iam"), arn.rpartition("/")[2]
        inline = iam.list_role_policies(RoleName=name)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"] for each in inline]
        # moto gives those that a stack's role has of itself as Python's text.
        documents = [yaml.safe_load(found) if isinstance(found, str) else found for found in documents]
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        return [*documents, *(self.policy(each["PolicyArn"]) for each in attached)]


@pytest.fixture
def account(moto: S3) -> Iterator[Account]:
    """An empty account, of which nothing is left."""
    urllib.request.urlopen(f"{moto.url}/moto-api/reset", b"", timeout=10).close()
    yield Account(moto)
    urllib.request.urlopen(f"{moto.url}/moto-api/reset", b"", timeout=10).close()


@pytest.fixture
def resources() -> dict[str, Any]:
    """The template's resources, as they are written."""
    from cfnlint.decode import decode

    template, problems = decode(str(TEMPLATE))
    assert template
    assert not problems
    return template["Resources"]


def findings(path: Path, **options: Any) -> list[str]:
    """What cfn-lint says of a template. It takes a second to import, which the other tests need not."""
    from cfnlint.api import lint_file
    from cfnlint.config import ManualArgs

    return [str(match) for match in lint_file(path, ManualArgs(**options))]


def test_the_linter_finds_nothing() -> None:
    """cfn-lint has no error, no warning and no advice."""
    assert findings(Path(str(TEMPLATE)), regions=["us-east-1", "eu-west-1"], include_checks=["I"]) == []


def test_the_linter_would_find_something(tmp_path: Path) -> None:
    """The same linter refuses the template with a misspelt property and with a reference to nothing."""
    for old, new in (("BucketEncryption:", "BucketEncription:"), ("!Ref ServiceRole]", "!Ref ServiceRol]")):
        broken = tmp_path / "broken.yaml"
        assert old in TEXT
        broken.write_text(TEXT.replace(old, new))
        assert findings(broken, regions=["us-east-1"]), new


def test_the_command_prints_it() -> None:
    """`bedrock-assets aws template` prints the file, and nothing else."""
    assert CliRunner().invoke(app, ["aws", "template"]).stdout == TEXT


@pytest.mark.parametrize(("key", "more"), [("none", False), ("new", True), (FOREIGN_KEY, False)])
def test_permissions_are_those_of_the_command_iam(account: Account, key: str, more: bool) -> None:
    """What the stack lets caller, service role and its trust do is what `bedrock-assets iam` prints, word for word."""
    settings = dict.fromkeys(("Vpc", "Tags", "Metrics"), str(more).lower())
    made = account.create(Key=key, Prefix="team/batch", **settings)
    assert made.get("KeyArn", "none") == (account.key_arn() if key == "new" else key)
    queue = account.queue_arn(made["QueueUrl"])
    deployment = Deployment(made["Store"], made["RoleArn"], REGION, key_arn=made.get("KeyArn"), events_queue=queue)
    if more:  # of any subnet, as a template cannot make a list of ARNs of a list of ids
        deployment = replace(deployment, subnet_ids=("*",), security_group_ids=("*",), tags=True, cloudwatch=True)
    policies = [account.policy(arn) for name, arn in made.items() if re.fullmatch("Caller.*PolicyArn", name)]
    assert statements(*policies) == statements(caller_policy(deployment))
    assert account.policy(made["DoctorPolicyArn"]) == doctor_policy(deployment)
    assert statements(*account.role_policies(made["RoleArn"])) == statements(role_policy(deployment))
    role = account.client("iam").get_role(RoleName=made["RoleArn"].rpartition("/")[2])["Role"]
    assert role["AssumeRolePolicyDocument"] == role_trust(deployment)


def test_an_existing_bucket_and_role_are_used_and_left_alone(account: Account) -> None:
    """With both given the stack makes neither, grants what they need, and changes nothing of theirs."""
    account.server.create_bucket("our-bucket")
    made = account.create(ExistingBucket="our-bucket", ExistingRole=FOREIGN_ROLE, Events="false")
    assert (made["Store"], made["RoleArn"]) == ("s3://our-bucket/batch", FOREIGN_ROLE)
    assert account.resources() == {"CallerPolicy", "DoctorPolicy"}
    deployment = Deployment("s3://our-bucket/batch", FOREIGN_ROLE, REGION)
    assert account.policy(made["CallerPolicyArn"]) == caller_policy(deployment)


def test_the_callers_role_gets_the_policies(account: Account) -> None:
    """The policies are attached to the role that is named."""
    iam = account.client("iam")
    iam.create_role(RoleName="dagster", AssumeRolePolicyDocument="{}")
    made = account.create(CallerRole="dagster", Key="new", Tags="true", Metrics="true")
    attached = {each["PolicyArn"] for each in iam.list_attached_role_policies(RoleName="dagster")["AttachedPolicies"]}
    assert attached == {made[name] for name in made if name.endswith("PolicyArn")}
    assert len(attached) == 6


def test_the_bucket(account: Account, resources: dict[str, Any]) -> None:
    """The bucket of the stack takes the store's files, and is encrypted; the template closes it to all but TLS."""
    made = account.create(Key="new")
    store = Store(made["Store"], REGION, account.server.url)
    bucket = made["Store"].split("/")[2]
    account.server.put(bucket, "batch/calls/a.json", b"{}")
    rules = account.client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    default = rules[0]["ApplyServerSideEncryptionByDefault"]
    assert (default["SSEAlgorithm"], default["KMSMasterKeyID"]) == ("aws:kms", made["KeyArn"])
    assert store.uri("calls/a.json") == f"s3://{bucket}/batch/calls/a.json"
    # moto's CloudFormation does not apply these; what is written is what AWS would apply.
    properties = resources["Bucket"]["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (denied,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", "*", "s3:*")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_unfinished_uploads_go_and_nothing_else_unless_told(resources: dict[str, Any]) -> None:
    """Lifecycle: parts of broken uploads and former versions go; files stay, unless `ExpireDays` is set."""
    remains, store = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert remains["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7
    assert remains["NoncurrentVersionExpiration"]["NoncurrentDays"] == {"Ref": "KeepDeletedDays"}
    assert "ExpirationInDays" not in remains
    assert store["Status"] == {"Fn::If": ["Expires", "Enabled", "Disabled"]}


def test_events_of_jobs_reach_the_queue(account: Account, resources: dict[str, Any]) -> None:
    """An event of a job that changes arrives in the queue, another does not; and only the rule may send to it."""
    made = account.create()
    others = [
        EVENT | {"Source": "aws.sagemaker"},
        EVENT | {"DetailType": "Model Customization Job State Change"},
    ]
    account.client("events").put_events(Entries=[*others, EVENT])
    received = account.client("sqs").receive_message(QueueUrl=made["QueueUrl"], MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(message["Body"])["detail"]["batchJobName"] for message in received] == ["ba-calls-0"]
    assert resources["JobsRule"]["Properties"]["EventPattern"] == PATTERN
    allowed, denied = resources["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["JobsRule", "Arn"]}}}
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_deleting_the_stack_keeps_what_was_paid_for(account: Account, resources: dict[str, Any]) -> None:
    """Bucket, files and key outlive the stack; all else goes."""
    kept = {name for name, resource in resources.items() if resource.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept == {"Bucket", "EncryptionKey"}
    made = account.create(Key="new")
    bucket = made["Store"].split("/")[2]
    account.server.put(bucket, "batch/calls/a.json", b"{}")
    account.cloudformation.delete_stack(StackName="batch")
    assert account.cloudformation.list_stacks(StackStatusFilter=["CREATE_COMPLETE"])["StackSummaries"] == []
    assert account.server.get(bucket, "batch/calls/a.json") == b"{}"
    assert account.key_arn() == made["KeyArn"]
    assert account.client("iam").list_roles()["Roles"] == []  # moto deletes no managed policies
    assert account.client("events").list_rules()["Rules"] == []
    assert "QueueUrls" not in account.client("sqs").list_queues()


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("Prefix", ["batch", "team-a/batch.v2"], ["", "/batch", "batch/", "a//b", "a b", "a=b", "*"]),
        ("ExistingBucket", ["", "my-bucket"], ["My-Bucket", "s3://my-bucket", "a"]),
        ("ExistingRole", ["", FOREIGN_ROLE], ["bedrock-batch", FOREIGN_ROLE.replace("role", "user")]),
        ("Key", ["none", "new", FOREIGN_KEY], ["", "alias/mine", "12345678-1234-1234-1234-123456789012"]),
        ("CallerRole", ["", "dagster"], [FOREIGN_ROLE]),
    ],
)
def test_parameters_that_would_not_work_are_refused(parameter: str, good: list[str], bad: list[str]) -> None:
    """CloudFormation refuses, before anything is made, what S3, IAM or Bedrock would refuse later."""
    from cfnlint.decode import decode

    template, _ = decode(str(TEMPLATE))
    assert template
    pattern = re.compile(template["Parameters"][parameter]["AllowedPattern"])
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


def statements(*documents: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The statements of several policies by their names."""
    found = [statement for document in documents for statement in document["Statement"]]
    assert len({statement["Sid"] for statement in found}) == len(found)
    return {statement["Sid"]: statement for statement in found}
