"""What Create refuses as AWS does: models, profiles, Regions, accounts, roles and owners of buckets."""

from datetime import date
from typing import Any, get_args

import pytest
from botocore.exceptions import ClientError

from bedrock_assets.emulator.admission import admit
from bedrock_assets.emulator.exceptions import AWSError
from bedrock_assets.emulator.refusals import CreateRefusal, refusal
from bedrock_assets.models import catalogue
from bedrock_assets.operations.batch_support import Created
from tests.emulator.lab import BUCKET, HAIKU, ROLE, Lab, StartLab

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OURS, OTHER = "123456789012", "210987654321"
TODAY = date(2026, 11, 26)
INPUT, OUTPUT = f"s3://{BUCKET}/in/", f"s3://{BUCKET}/out/"


def request(model: str = SONNET, role: str = ROLE, **owners: str) -> Any:
    """A Create request; *owners* are `input` and `output`."""
    sides = {"input": INPUT, "output": OUTPUT}
    configs = {
        f"{side}DataConfig": {
            f"s3{side.title()}DataConfig": {"s3Uri": uri} | ({"s3BucketOwner": owners[side]} if side in owners else {})
        }
        for side, uri in sides.items()
    }
    return {"jobName": "a-job", "roleArn": role, "modelId": model, **configs}


def refused(asked: Any, region: str = "us-east-1", today: date = TODAY) -> str | None:
    """The message that the request is refused with."""
    try:
        admit(asked, region, today)
    except AWSError as error:
        return error.message
    return None


def words(reason: CreateRefusal) -> str:
    """The message of a refusal."""
    return refusal(reason).message


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("anthropic.claude-sonnet-4-6-typo", "unknown_model"),
        ("acme.own-model-v1", "unknown_model"),
        ("jp.amazon.nova-lite-v1:0", "unknown_model"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "needs_profile"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0", "needs_profile"),
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", "wrong_geography"),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "wrong_geography"),
        ("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-lite-v1:0", "foreign_arn"),
        (f"arn:aws:bedrock:us-east-1:{OTHER}:inference-profile/{SONNET}", "foreign_arn"),
        (f"arn:aws:bedrock:us-east-1:{OTHER}:custom-model/amazon.nova-lite-v1:0/abcdefghijkl", "foreign_arn"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "ended"),
        ("amazon.nova-canvas-v1:0", "ended"),
        ("amazon.nova-2-sonic-v1:0", "no_batch"),
        ("openai.gpt-5.5", "no_batch"),
        ("us.anthropic.claude-opus-4-7", "no_batch"),
        ("amazon.titan-text-express-v1", "no_batch"),
    ],
)
def test_models_that_aws_refuses(model: str, reason: CreateRefusal) -> None:
    """Each is refused in AWS's words."""
    assert refused(request(model)) == words(reason)


@pytest.mark.parametrize(
    ("model", "region"),
    [
        (SONNET, "us-west-2"),
        (SONNET, "ca-central-1"),
        (SONNET.replace("us.", "eu."), "eu-central-1"),
        (SONNET.replace("us.", "jp."), "ap-northeast-1"),
        (SONNET.replace("us.", "global."), "sa-east-1"),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "us-gov-west-1"),
        (f"arn:aws:bedrock:us-east-1:{OURS}:inference-profile/{SONNET}", "us-east-1"),
        (f"arn:aws:bedrock:us-east-1:{OURS}:application-inference-profile/abcdefghijkl", "us-east-1"),
        (f"arn:aws:bedrock:us-east-1:{OURS}:custom-model/amazon.nova-lite-v1:0/abcdefghijkl", "us-east-1"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "us-east-1"),
        ("amazon.titan-embed-text-v2:0", "eu-west-1"),
    ],
)
def test_models_that_aws_takes(model: str, region: str) -> None:
    """Profiles of the caller's geography, models by their bare ids where they have them, and the account's own."""
    assert refused(request(model), region) is None


def test_every_example_of_a_living_model_is_taken_somewhere() -> None:
    """What the catalogue gives as an id that can be written under `model:`, Create takes."""
    for model in catalogue().models:
        if model.example and model.batch and model.stage(TODAY) == "active":
            assert refused(request(model.example)) is None, model.example


def test_a_model_ages() -> None:
    """Legacy before its end, and taken before that."""
    nova = "us.anthropic.claude-sonnet-4-20250514-v1:0"
    assert refused(request(nova), today=date(2026, 4, 13)) is None
    assert refused(request(nova), today=date(2026, 4, 14)) == words("legacy")
    assert refused(request(nova), today=date(2026, 10, 14)) == words("ended")


def test_a_role_and_owners_of_buckets() -> None:
    """They are the account's own."""
    assert refused(request(role=f"arn:aws:iam::{OTHER}:role/batch")) == words("foreign_role")
    assert refused(request(input=OTHER)) == words("bucket_owner")
    assert refused(request(output=OTHER)) == words("bucket_owner")
    assert refused(request(input=OURS, output=OURS)) is None


def test_over_the_wire(start: StartLab) -> None:
    """An emulator is strict by default, a refused request leaves no job, and `any_model` takes it."""
    lab = start(any_model=False)
    with pytest.raises(lab.client.exceptions.ResourceNotFoundException, match="reached the end of its life"):
        lab.create("a-job", model=HAIKU)
    assert lab.client.list_model_invocation_jobs()["invocationJobSummaries"] == []
    assert lab.wait(lab.create("a-job", model=SONNET))["status"] == "Completed"
    assert start(any_model=True).create("b-job", model=HAIKU)


@pytest.mark.parametrize("reason", get_args(CreateRefusal))
def test_each_can_be_injected(slow_lab: Lab, reason: CreateRefusal) -> None:
    """The fault refuses Create and no other call, in words that `doctor --probe` understands, but for the bucket's."""
    slow_lab.faults(create_refusal=reason)
    with pytest.raises(ClientError) as caught:
        slow_lab.create("a-job", model=SONNET)
    message = caught.value.response.get("Error", {}).get("Message", "")
    assert message == words(reason)
    assert (Created(SONNET, message=message).refusal is None) == (reason == "bucket_owner")
    assert slow_lab.client.list_model_invocation_jobs()["invocationJobSummaries"] == []
