"""The IAM documents allow what the code calls, and nothing else: read off the code, and tried against a real server."""

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import BotoCoreError
from typer.testing import CliRunner

import bedrock_assets
from bedrock_assets.aws.iam import Deployment, caller_policy, role_policy, role_trust
from bedrock_assets.cli.app import app
from bedrock_assets.errors import StoreError
from bedrock_assets.local.stack import free_port
from bedrock_assets.storage.store import Store

DEPLOYMENT = Deployment("s3://calls-bucket/some/prefix", "arn:aws:iam::123456789012:role/bedrock-batch", "us-east-1")
QUEUE = "arn:aws:sqs:us-east-1:123456789012:bedrock-events"
PACKAGE = Path(bedrock_assets.__file__).parent
IN_VPC = replace(DEPLOYMENT, subnet_ids=("subnet-1", "subnet-2"), security_group_ids=("sg-1",))
ACTIONS = {
    "Converse": "InvokeModel",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "DeleteMessageBatch": "DeleteMessage",
}
"""Of operations whose action has another name."""
SETUP_CALLS = 5
"""Of the test itself, before the server asks who is calling: a bucket, a user, two policies and a key."""
OBSTORE_ACTIONS = {
    "get": {"s3:GetObject"},
    "head": {"s3:GetObject"},
    "list": {"s3:ListBucket"},
    "list_with_delimiter": {"s3:ListBucket"},
    "get_range": {"s3:GetObject"},
    "put": {"s3:PutObject"},
    "open_writer": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "copy": {"s3:GetObject", "s3:PutObject"},
    "rename": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"},
    "delete": {"s3:DeleteObject"},
}
"""A rename is a copy and a delete; a writer that fails aborts its upload."""
TRANSFERS = {"copy": {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}}
"""Of boto3's functions that are no operations."""


def test_the_caller_may_do_what_the_code_calls_and_nothing_else() -> None:
    """Every boto3 and object operation is allowed, and no action is there for nothing; SQS and CloudWatch if asked."""
    boto_operations, object_operations = called()
    transfers = {call for call in boto_operations if call[1] in TRANSFERS}
    needed = {action_of(service, operation) for service, operation in boto_operations - transfers}
    needed |= {action for _service, name in transfers for action in TRANSFERS[name]}
    needed |= {action for operation in object_operations for action in OBSTORE_ACTIONS[operation]}
    needed |= {"iam:PassRole"}  # Create hands the role over
    needed |= {"s3vectors:GetVectors"}  # a list with metadata asks for it
    assumed = "arn:aws:iam::210987654321:role/x"
    everything = replace(DEPLOYMENT, events_queue=QUEUE, cloudwatch=True, assumed=assumed, vector_bucket="vectors")
    assert actions(caller_policy(everything)) == needed
    optional = {action for action in needed if action.startswith(("sqs:", "cloudwatch:", "sts:", "s3vectors:"))}
    assert actions(caller_policy(DEPLOYMENT)) == needed - optional
    assert len(optional) == 10
    tagged = actions(caller_policy(replace(DEPLOYMENT, tags=True)))
    assert tagged - actions(caller_policy(DEPLOYMENT)) == {"bedrock:TagResource"}


def test_no_wildcard_but_where_there_is_no_resource() -> None:
    """Objects, bucket and role are named; no action is a pattern; jobs, which have no names, and metrics are any."""
    full = replace(DEPLOYMENT, events_queue=QUEUE, cloudwatch=True)
    for policy in (caller_policy(full), role_policy(DEPLOYMENT)):
        for statement in policy["Statement"]:
            assert all("*" not in action for action in statement["Action"])
            assert ("*" in statement["Resource"]) == (statement["Sid"] in ("Jobs", "Metrics"))
    objects = {s["Sid"]: s["Resource"] for s in caller_policy(DEPLOYMENT)["Statement"]}
    assert objects["Objects"] == ["arn:aws:s3:::calls-bucket/some/prefix/*"]
    assert objects["Role"] == [DEPLOYMENT.role_arn]


def test_interfaces_are_for_jobs_in_these_subnets_alone() -> None:
    """In a VPC the role may make interfaces in the subnets that are named, for batch jobs; without one it may not."""
    before = {statement["Sid"] for statement in role_policy(DEPLOYMENT)["Statement"]}
    found = {each["Sid"]: each for each in role_policy(IN_VPC)["Statement"] if each["Sid"] not in before}
    assert set(found) == {"Vpc", "Interfaces", "OwnInterfaces", "TagInterfaces"}
    assert all(action.startswith("ec2:Describe") for action in found["Vpc"]["Action"])
    own = "arn:aws:ec2:us-east-1:123456789012"
    named = [f"{own}:subnet/subnet-1", f"{own}:subnet/subnet-2", f"{own}:security-group/sg-1"]
    assert found["Interfaces"]["Resource"] == [f"{own}:network-interface/*", *named]
    for name in ("Interfaces", "OwnInterfaces", "TagInterfaces"):
        assert "BedrockModelInvocationJobArn" in json.dumps(found[name]["Condition"])
    assert found["OwnInterfaces"]["Condition"]["ArnLike"]["ec2:Subnet"] == named[:2]


def test_only_bedrock_takes_the_role_on() -> None:
    """The role trusts Bedrock for jobs of this account and Region alone."""
    (statement,) = role_trust(DEPLOYMENT)["Statement"]
    assert statement["Principal"] == {"Service": "bedrock.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    source = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*"
    assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": source}


def test_the_command_prints_the_documents() -> None:
    """`bedrock-assets iam` prints documents for `aws iam`; a wrong setting is an error."""
    settings = ["--store", DEPLOYMENT.store, "--role-arn", DEPLOYMENT.role_arn, "--region", DEPLOYMENT.region]
    printed = json.loads(CliRunner().invoke(app, ["iam", *settings]).stdout)
    assert printed["caller_policy"] == caller_policy(DEPLOYMENT)
    assert set(printed) == {"caller_policy", "doctor_policy", "role_policy", "role_trust"}
    wrong = CliRunner().invoke(app, ["iam", *settings, "--store", "/tmp/local"])  # noqa: S108 - not opened
    assert (wrong.exit_code, "is not an S3 URI" in wrong.output) == (2, True)
    with_events = json.loads(CliRunner().invoke(app, ["iam", *settings, "--events-queue", QUEUE]).stdout)
    assert with_events["caller_policy"]["Statement"][-1]["Resource"] == [QUEUE]
    more = ["--subnet-ids", "subnet-1,subnet-2", "--security-group-ids", "sg-1", "--tags"]
    in_vpc = json.loads(CliRunner().invoke(app, ["iam", *settings, *more]).stdout)
    assert in_vpc["role_policy"] == role_policy(IN_VPC)
    assert in_vpc["caller_policy"] == caller_policy(replace(DEPLOYMENT, tags=True))
    assert CliRunner().invoke(app, ["iam", *settings, "--subnet-ids", "subnet-1"]).exit_code == 2
    with_metrics = json.loads(CliRunner().invoke(app, ["iam", *settings, "--cloudwatch"]).stdout)
    assert with_metrics["caller_policy"]["Statement"][-1]["Action"] == ["cloudwatch:GetMetricData"]
    wrong = CliRunner().invoke(app, ["iam", *settings, "--events-queue", "https://sqs.us-east-1.amazonaws.com/1/x"])
    assert (wrong.exit_code, "is not an ARN" in wrong.output) == (2, True)


def test_the_store_works_under_the_callers_policy(enforcing: dict[str, str]) -> None:
    """Against a server that enforces IAM, all of the store's calls pass with that policy; its neighbour's do not."""
    store = Store(DEPLOYMENT.store, "us-east-1", enforcing["url"])
    store.put("calls/a.json", b"{}")
    with store.writer("calls/large.bin") as file:
        for _ in range(20):
            file.write(b"x" * 1_000_000)
    store.move("calls/large.bin", "calls/moved.bin")
    store.copy("calls/moved.bin", "calls/copied.bin")
    assert store.size("calls/copied.bin") == store.size("calls/moved.bin") == 20_000_000
    store.delete(["calls/copied.bin"])
    assert not store.exists("calls/none")
    assert [file.key for file in store.files("calls")] == ["calls/a.json", "calls/moved.bin"]
    store.delete(["calls/a.json", "calls/moved.bin"])
    with pytest.raises(StoreError):
        Store("s3://calls-bucket/other", "us-east-1", enforcing["url"]).put("a.json", b"{}")


@pytest.fixture
def enforcing(monkeypatch: pytest.MonkeyPatch) -> Generator[dict[str, str]]:
    """An S3 server that asks who is calling, with a user who has the caller's policy."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    env = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(SETUP_CALLS)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env) as server:
        try:
            keys = _set_up(url)
            for name, value in keys.items():
                monkeypatch.setenv(name, value)
            yield {"url": url}
        finally:
            server.kill()


def called() -> tuple[set[tuple[str, str]], set[str]]:
    """The boto3 operations of the package by service, and the functions of obstore that it calls."""
    boto, objects = set[tuple[str, str]](), set[str]()
    services = {
        "aws/model_invocation_jobs.py": "bedrock",
        "aws/runtime.py": "bedrock-runtime",
        "aws/job_events.py": "sqs",
        "inbox/files.py": "s3",
        "sources/s3_files.py": "s3",
        "storage/s3.py": "s3",
        "aws/cloudwatch.py": "cloudwatch",
        "aws/assume_role.py": "sts",
        "sinks/s3_vectors.py": "s3vectors",
    }
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "emulator"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if ast.unparse(node.func.value) == "obstore":
                objects.add(node.func.attr)
            elif ast.unparse(node.func.value).endswith("client"):
                named = node.args[0] if node.func.attr == "get_paginator" else ast.Constant(node.func.attr)
                boto.add((services[path.relative_to(PACKAGE).as_posix()], str(ast.literal_eval(named))))
    return boto, objects


def action_of(service: str, operation: str) -> str:
    """The IAM action of an operation as boto3 spells it."""
    model = botocore.session.get_session().get_service_model(service)
    (name,) = [name for name in model.operation_names if xform_name(name) == operation]
    prefix = {"bedrock-runtime": "bedrock"}.get(service, service)
    return f"{prefix}:{ACTIONS.get(name, name)}"


def actions(policy: dict[str, Any]) -> set[str]:
    """All actions that a policy allows."""
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def _set_up(url: str) -> dict[str, str]:
    anybody = {"endpoint_url": url, "region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    s3, iam = boto3.client("s3", **anybody), boto3.client("iam", **anybody)
    for _ in range(100):
        try:
            s3.create_bucket(Bucket="calls-bucket")
        except BotoCoreError:
            time.sleep(0.2)
        else:
            break
    iam.create_user(UserName="dagster")
    policy = json.dumps(caller_policy(DEPLOYMENT))
    iam.put_user_policy(UserName="dagster", PolicyName="caller", PolicyDocument=policy)
    # This server asks for s3:DeleteObject on the bucket where S3 asks for it on each object that is deleted.
    statement = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": DEPLOYMENT.bucket_arn}
    extra = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="dagster", PolicyName="of-this-server", PolicyDocument=extra)
    key = iam.create_access_key(UserName="dagster")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
