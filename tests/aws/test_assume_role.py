"""A role of another account: calls are made with its credentials, which are renewed before they expire."""

import json
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError

from bedrock_assets.aws.assume_role import SESSION_NAME, assumed
from bedrock_assets.aws.iam import Deployment, role_trust
from bedrock_assets.local.stack import free_port
from bedrock_assets.operations.doctor import run_checks
from bedrock_assets.operations.probes import Probe
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.regions import RegionConfig
from bedrock_assets.storage.store import Store

OTHER = "210987654321"
CALLER = f"arn:aws:iam::{OTHER}:role/bedrock-caller"


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A server of STS, to which boto3 is pointed."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "mine",
        "AWS_SECRET_ACCESS_KEY": "mine",
        "AWS_ENDPOINT_URL_STS": url,
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(url)
            yield url
        finally:
            server.kill()


def _wait_for(url: str) -> None:
    client: Any = boto3.client("sts", endpoint_url=url, region_name="us-east-1")
    for _ in range(600):
        try:
            client.get_caller_identity()
        except BotoCoreError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


@pytest.mark.usefixtures("sts")
def test_calls_are_made_as_the_role() -> None:
    """A client of the session is somebody of the other account, under a name that its CloudTrail shows."""
    session: Any = assumed(boto3.Session(region_name="us-west-2"), CALLER, "our-secret-word")
    assert session.region_name == "us-west-2"
    identity = session.client("sts").get_caller_identity()
    assert identity["Account"] == OTHER
    assert identity["Arn"].endswith(f"assumed-role/bedrock-caller/{SESSION_NAME}")


@pytest.mark.usefixtures("sts")
def test_credentials_are_renewed() -> None:
    """Credentials that are about to expire are asked for again, without a new session."""
    session: Any = assumed(boto3.Session(region_name="us-west-2"), CALLER)
    held = session.get_credentials()
    before = held.get_frozen_credentials()
    assert held.get_frozen_credentials() == before
    held._expiry_time = datetime.now(UTC) + timedelta(seconds=60)
    assert held.get_frozen_credentials().access_key != before.access_key


@pytest.mark.usefixtures("sts")
def test_a_region_of_another_account(store: Store) -> None:
    """Clients of a Region are signed for it with its role's credentials, and its service role is its own."""
    role = f"arn:aws:iam::{OTHER}:role/bedrock-batch"
    region = RegionConfig(role_arn=role, assume_role_arn=CALLER, endpoint_url="http://127.0.0.1:9")
    resource = BedrockResource(
        role_arn="arn:aws:iam::123456789012:role/bedrock-batch",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        regions=[region],
    )
    home, other = resource.open(store).all
    assert (other.name, other.account) == ("us-east-1", OTHER)
    assert other.bedrock.role_arn == role
    assert home.bedrock.client._request_signer._credentials.access_key == "mine"
    assert resource.session(other).client("sts").get_caller_identity()["Account"] == OTHER
    assert resource.session(home).get_credentials().access_key == "mine"


@pytest.mark.parametrize(
    ("region", "verdict", "told"),
    [("us-west-2", "ok", "trusts Bedrock"), ("us-east-1", "fail", "but not for jobs in us-west-2")],
)
def test_a_service_role_of_another_region(sts: str, store: Store, region: str, verdict: str, told: str) -> None:
    """The trust that we print is for jobs of one Region, and `doctor` tells where it is another's."""
    arn = "arn:aws:iam::123456789012:role/bedrock-batch"
    iam: Any = boto3.client("iam", endpoint_url=sts, region_name="us-east-1")
    trust = role_trust(Deployment("s3://calls/batch", arn, region))
    iam.create_role(RoleName="bedrock-batch", AssumeRolePolicyDocument=json.dumps(trust))
    resource = BedrockResource(role_arn=arn, region_name="us-west-2", endpoint_url="http://127.0.0.1:9", max_attempts=1)
    regions = resource.open(store)
    clients: Any = boto3.client
    ask = partial(clients, region_name="us-west-2", endpoint_url=sts)
    patient = Probe(store, regions.home.bedrock, "us-west-2", ask, on_aws=True)
    found = {finding.check: finding for finding in run_checks({regions.home: patient}, regions, [], None)}
    assert found["service role"].status == verdict
    assert told in found["service role"].message
