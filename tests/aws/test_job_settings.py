"""What all jobs are created with: key, owner, VPC and tags reach Bedrock, and changing them pays for nothing twice."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.config.job_settings import PIPELINE_TAG, JobSettings, Vpc, parse_tags
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.emulator import Emulator, Faults
from bedrock_assets.errors import BedrockError, BedrockUnavailable, ConfigError
from bedrock_assets.limits import JobLimits
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.environment import bedrock_resource
from bedrock_assets.resources.store import StoreResource, store_resource
from tests.aws.test_model_invocation_jobs import RECORD, ROLE, connect, new
from tests.labs.dispatch import open_lab
from tests.labs.stages import HAIKU

KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
VPC = Vpc(("subnet-0a", "subnet-0b"), ("sg-0a",))
SETTINGS = JobSettings(KEY_ARN, "123456789012", VPC, {"team": "data", "stage": "prod"})


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator for the whole module."""
    folder = tmp_path_factory.mktemp("bedrock")
    (folder / "bucket").mkdir()
    (folder / "bucket" / "in.jsonl").write_text(RECORD)
    limits = JobLimits(min_records_per_job=1, max_jobs=50)
    with Emulator(str(folder), folder / "jobs.sqlite", speed=1, limits=limits, any_model=True) as running:
        yield running


@pytest.fixture
def bedrock(emulator: Emulator) -> Iterator[Bedrock]:
    """A client of it with settings; faults that a test sets are gone after it."""
    opened = replace(connect(emulator.endpoint_url), settings=SETTINGS)
    yield opened
    opened.client.close()
    emulator.set_faults(Faults())


def tags_of(bedrock: Bedrock, arn: str) -> dict[str, str]:
    """A job's tags."""
    return {tag["key"]: tag["value"] for tag in bedrock.client.list_tags_for_resource(resourceARN=arn)["tags"]}


def test_settings_reach_bedrock(bedrock: Bedrock) -> None:
    """Get tells the key, the owner and the VPC that were set; the pipeline's own tags go before those of all jobs."""
    arn = bedrock.create(new("all-set", pipeline="calls", tags={"stage": "test", "cost-center": "42"}))
    told: Any = bedrock.client.get_model_invocation_job(jobIdentifier=arn)
    assert told["inputDataConfig"]["s3InputDataConfig"]["s3BucketOwner"] == "123456789012"
    output = told["outputDataConfig"]["s3OutputDataConfig"]
    assert (output["s3BucketOwner"], output["s3EncryptionKeyId"]) == ("123456789012", KEY_ARN)
    assert told["vpcConfig"] == {"subnetIds": ["subnet-0a", "subnet-0b"], "securityGroupIds": ["sg-0a"]}
    own = {PIPELINE_TAG: "calls"}
    assert tags_of(bedrock, arn) == {"team": "data", "stage": "test", "cost-center": "42", **own}


def test_nothing_is_set_unless_asked_for(bedrock: Bedrock) -> None:
    """Without settings a request has none of them, so that no permission is needed for them."""
    plain = replace(bedrock, settings=JobSettings())
    arn = plain.create(new("none-set", pipeline="calls"))
    told: Any = plain.client.get_model_invocation_job(jobIdentifier=arn)
    assert "vpcConfig" not in told
    assert set(told["outputDataConfig"]["s3OutputDataConfig"]) == {"s3Uri"}
    assert tags_of(plain, arn) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": JobSettings()},
        {"settings": replace(SETTINGS, tags={"team": "other"})},
        {"settings": replace(SETTINGS, vpc=None)},
        {"settings": replace(SETTINGS, kms_key_arn=None)},
        {"settings": replace(SETTINGS, bucket_owner=None)},
        {"role_arn": ROLE + "-new"},
    ],
)
def test_changed_settings_pay_nothing_twice(bedrock: Bedrock, emulator: Emulator, changed: dict[str, Any]) -> None:
    """After a lost response the same token comes with another request: the job that is there is adopted."""
    name = f"lost-{secrets.token_hex(4)}"
    emulator.set_faults(Faults(lost_response_rate=1))
    with pytest.raises(BedrockUnavailable):
        bedrock.create(new(name, pipeline="calls"))
    emulator.set_faults(Faults())
    arn = replace(bedrock, **changed).create(new(name, pipeline="calls"))
    assert [job.arn for job in bedrock.list(name_contains=name)] == [arn]
    assert tags_of(bedrock, arn)["team"] == "data"


def test_another_token_with_a_name_that_is_there(bedrock: Bedrock) -> None:
    """A refusal as invalid, where no job has the name, stays a refusal."""
    with pytest.raises(BedrockError, match="ValidationException"):
        bedrock.create(new("never-made", model="no-such-model"))
    assert list(bedrock.list(name_contains="never-made")) == []


def test_a_pipelines_jobs_are_tagged(tmp_path: Path) -> None:
    """What `tags:` says stands on each job, and a pipeline whose tags change keeps its jobs."""
    with open_lab(tmp_path, tags={"team": "claims", "cost-center": 42}) as lab:
        lab.ask()
        lab.finish()
        client: Any = lab.bedrock.client
        for job in lab.jobs():
            tags = {tag["key"]: tag["value"] for tag in client.list_tags_for_resource(resourceARN=job.arn)["tags"]}
            assert tags == {"team": "claims", "cost-center": "42", PIPELINE_TAG: "calls"}
        assert len(lab.jobs()) == 4


BAD: list[tuple[dict[str, Any], str]] = [
    ({"bucket_owner": "12345"}, "'12345' is not an AWS account id; set BEDROCK_ASSETS_BUCKET_OWNER"),
    ({"kms_key_arn": "alias/mine"}, "KMS key 'alias/mine' is not an ARN"),
    ({"tags": {"": "x"}}, "its key must have 1 to 128"),
    ({"tags": {"k" * 129: "x"}}, "its key must have 1 to 128"),
    ({"tags": {"k": "v" * 257}}, "at most 256 characters"),
    ({"tags": {"k": "ä"}}, "AWS allows letters"),
    ({"tags": {"k!": "v"}}, "job tag 'k!': AWS allows letters"),
    ({"tags": {"AWS:k": "v"}}, "reserved for AWS"),
    (
        {"tags": {f"k{i}": "v" for i in range(50)}},
        "50 job tags are too many; AWS allows 50",
    ),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    """A setting that Bedrock would refuse is told with its name and the cure."""
    with pytest.raises(ConfigError, match=message):
        JobSettings(**settings)


@pytest.mark.parametrize(
    ("subnets", "groups", "message"),
    [
        (["subnet-1"], [], "needs 1 to 5 security groups, but 0 are given; set both"),
        ([], ["sg-1"], "1 to 16 subnets, but 0 are given"),
        ([f"subnet-{i}" for i in range(17)], ["sg-1"], "1 to 16 subnets, but 17 are given"),
        (["subnet_1"], ["sg-1"], "'subnet_1' in the subnets of jobs is not an id"),
    ],
)
def test_bad_vpcs(subnets: list[str], groups: list[str], message: str) -> None:
    """Subnets go with security groups, as many as Bedrock takes."""
    with pytest.raises(ConfigError, match=message):
        Vpc.of(subnets, groups)


def test_what_we_take_bedrock_takes(emulator: Emulator) -> None:
    """The largest settings that we let through are let through by the service model as well."""
    most = JobSettings(
        "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/a/b",
        "000000000000",
        Vpc(tuple(f"subnet-{i}" for i in range(16)), tuple("abcde")),
        {"k" * 128: "v" * 256, "a b.:/=+@-_": ""} | {f"k{i}": "v" for i in range(47)},
    )
    bedrock = replace(connect(emulator.endpoint_url), settings=most)
    assert len(tags_of(bedrock, bedrock.create(new("largest", pipeline="calls")))) == 50
    bedrock.client.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"vpcConfig": {"subnetIds": [f"subnet-{i}" for i in range(17)], "securityGroupIds": ["sg-1"]}},
        {"vpcConfig": {"subnetIds": ["subnet_1"], "securityGroupIds": ["sg-1"]}},
        {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/", "s3BucketOwner": "1"}}},
        {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/", "s3EncryptionKeyId": "key"}}},
        {"tags": [{"key": "k!", "value": "v"}]},
    ],
)
def test_the_emulator_refuses_what_aws_refuses(bedrock: Bedrock, wrong: dict[str, Any]) -> None:
    """boto3 checks none of these; Bedrock does, and so does the emulator."""
    request: dict[str, Any] = {
        "jobName": "wrong",
        "roleArn": ROLE,
        "modelId": HAIKU,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://bucket/in.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
    }
    with pytest.raises(ClientError, match="ValidationException"):
        bedrock.client.create_model_invocation_job(**(request | wrong))


def test_tags_in_yaml() -> None:
    """Tags of a pipeline or an inbox are checked when the file is loaded."""
    assert WorkloadSpec(name="calls", model=HAIKU, tags={"cost-center": 42}).tags == {"cost-center": "42"}  # type: ignore[dict-item]
    with pytest.raises(ValidationError, match="AWS allows letters"):
        WorkloadSpec(name="calls", model=HAIKU, tags={"k!": "v"})


def test_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has a variable; a wrong one stops the code location from loading."""
    environment = {
        "BEDROCK_ASSETS_STORE": "s3://my-bucket/batch",
        "BEDROCK_ASSETS_KMS_KEY_ARN": KEY_ARN,
        "BEDROCK_ASSETS_BUCKET_OWNER": "123456789012",
        "BEDROCK_ASSETS_SUBNET_IDS": "subnet-0a, subnet-0b",
        "BEDROCK_ASSETS_SECURITY_GROUP_IDS": "sg-0a",
        "BEDROCK_ASSETS_TAGS": "team=data, stage=prod",
        "AWS_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert bedrock_resource().open(store_resource().open()).home.bedrock.settings == SETTINGS
    for name, wrong in {
        "BEDROCK_ASSETS_KMS_KEY_ARN": "x",
        "BEDROCK_ASSETS_BUCKET_OWNER": "x",
        "BEDROCK_ASSETS_SUBNET_IDS": "",
        "BEDROCK_ASSETS_TAGS": "team",
    }.items():
        monkeypatch.setenv(name, wrong)
        with pytest.raises(ConfigError, match=name):
            (bedrock_resource(), store_resource())
        monkeypatch.setenv(name, environment[name])


def test_tags_of_the_environment() -> None:
    """Values may hold `=`; a key stands once."""
    assert parse_tags("") == {}
    assert parse_tags(" a = b=c , d=") == {"a": "b=c", "d": ""}
    for wrong in ("a=1,a=2", "a", "=,b"):
        with pytest.raises(ConfigError, match=r"BEDROCK_ASSETS_TAGS|its key"):
            JobSettings(tags=parse_tags(wrong))


def test_resources_hand_settings_on() -> None:
    """The resources, as they stand in a definitions file, make the same."""
    store = StoreResource(url="s3://my-bucket/batch", kms_key_arn=KEY_ARN, bucket_owner="123456789012")
    vpc = {"vpc_subnet_ids": list(VPC.subnet_ids), "vpc_security_group_ids": list(VPC.security_group_ids)}
    bedrock = BedrockResource(role_arn=ROLE, region_name="us-east-1", tags=dict(SETTINGS.tags), **vpc)
    assert bedrock.open(store.open()).home.bedrock.settings == SETTINGS
