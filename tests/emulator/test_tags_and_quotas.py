"""Tags of jobs, and the batch quotas that Service Quotas lists."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_assets.limits import JobLimits
from tests.emulator.lab import Lab, StartLab, connect_to, limits
from tests.emulator.test_faults import error_code

OTHER_ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghij12"


def tag_list(**tags: str) -> list[dict[str, str]]:
    """Tags as the API spells them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def tags_of(lab: Lab, arn: str) -> list[dict[str, str]]:
    """A job's tags."""
    return [dict(tag) for tag in lab.client.list_tags_for_resource(resourceARN=arn)["tags"]]  # type: ignore[misc]


def test_tags_of_a_job(slow_lab: Lab) -> None:
    """Tags of the Create request are listed, changed by key, added and removed; those of other jobs are not."""
    client = slow_lab.client
    arn = slow_lab.create("a-job", tags=tag_list(team="claims", stage="test"))
    other = slow_lab.create("b-job", tags=tag_list(team="sales"))
    client.tag_resource(resourceARN=arn, tags=tag_list(stage="prod", owner="me"))
    assert tags_of(slow_lab, arn) == tag_list(team="claims", stage="prod", owner="me")
    client.untag_resource(resourceARN=arn, tagKeys=["team", "no-such-key"])
    assert tags_of(slow_lab, arn) == tag_list(stage="prod", owner="me")
    assert tags_of(slow_lab, other) == tag_list(team="sales")


def test_tags_survive_a_restart(start: StartLab) -> None:
    """Another emulator on the same database knows the tags."""
    arn = start(speed=1).create("a-job", tags=tag_list(team="claims"))
    assert tags_of(start(speed=1), arn) == tag_list(team="claims")


def test_refused_tags(slow_lab: Lab) -> None:
    """Unknown jobs, reserved keys, too many tags and broken patterns are refused, and change nothing."""
    client = slow_lab.client
    arn = slow_lab.create("a-job", tags=tag_list(team="claims"))
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.tag_resource(resourceARN=OTHER_ARN, tags=tag_list(a="b"))
    with pytest.raises(client.exceptions.ValidationException, match="at 'resourceARN'"):
        client.list_tags_for_resource(resourceARN="arn:aws:bedrock:us-east-1:123456789012:no-such-kind/1")
    with pytest.raises(client.exceptions.ValidationException, match="aws:"):
        client.tag_resource(resourceARN=arn, tags=[{"key": "AWS:x", "value": "y"}, {"key": "b", "value": "c"}])
    with pytest.raises(client.exceptions.TooManyTagsException):
        client.tag_resource(resourceARN=arn, tags=tag_list(**{f"key{i}": "x" for i in range(50)}))
    with pytest.raises(client.exceptions.ValidationException, match="at 'tagKeys"):
        client.untag_resource(resourceARN=arn, tagKeys=["k!"])
    assert tags_of(slow_lab, arn) == tag_list(team="claims")
    with pytest.raises(ClientError):
        slow_lab.create("b-job", tags=[{"key": "aws:x", "value": "y"}])
    assert len(client.list_model_invocation_jobs()["invocationJobSummaries"]) == 1


@pytest.fixture
def quotas(start: StartLab) -> Iterator[Any]:
    """A client of Service Quotas at an emulator whose limits are not the defaults."""
    client = connect_to("service-quotas", start(speed=1, limits=limits(max_jobs=7)).emulator.endpoint_url)
    yield client
    client.close()


def test_quotas_have_the_emulators_limits(quotas: Any) -> None:
    """The paginator lists six quotas for each model, under AWS's names, with the limits that are enforced."""
    pages = quotas.get_paginator("list_service_quotas").paginate(
        ServiceCode="bedrock", PaginationConfig={"PageSize": 5}
    )
    listed = [quota for page in pages for quota in page["Quotas"]]
    values = {quota["QuotaName"]: quota["Value"] for quota in listed}
    assert len(values) == len(listed) == len({quota["QuotaCode"] for quota in listed})
    job = "per batch inference job for Claude 3 Haiku"
    assert values[f"Minimum number of records {job}"] == 1
    assert values[f"Records {job}"] == values[f"Records per input file {job}"] == 50_000
    assert values["Batch inference input file size (in GB) for Claude 3 Haiku"] == 1
    assert values["Batch inference job size for Nova Lite V1 (in GB)"] == 5
    jobs = "Sum of in-progress and submitted batch inference jobs using a base model for"
    assert {value for name, value in values.items() if name.startswith(jobs)} == {7}


def test_one_quota(quotas: Any) -> None:
    """Get returns a listed quota by its code; the default is AWS's, whatever the emulator enforces."""
    listed = quotas.list_service_quotas(ServiceCode="bedrock")["Quotas"]
    wanted = next(quota for quota in listed if "Sum of in-progress" in quota["QuotaName"])
    code = {"ServiceCode": "bedrock", "QuotaCode": wanted["QuotaCode"]}
    assert quotas.get_service_quota(**code)["Quota"] == wanted
    assert quotas.list_service_quotas(**code)["Quotas"] == [wanted]
    default = JobLimits.model_validate({}).max_jobs
    assert quotas.get_aws_default_service_quota(**code)["Quota"] == wanted | {"Value": default}
    pages = quotas.get_paginator("list_aws_default_service_quotas").paginate(ServiceCode="bedrock")
    assert wanted | {"Value": default} in [quota for page in pages for quota in page["Quotas"]]


def test_refused_quota_calls(quotas: Any) -> None:
    """Errors have Service Quotas' own names."""
    known = quotas.exceptions
    for error, call, query in (
        (known.NoSuchResourceException, quotas.list_service_quotas, {"ServiceCode": "s3"}),
        (known.NoSuchResourceException, quotas.get_service_quota, {"ServiceCode": "bedrock", "QuotaCode": "L-1"}),
        (known.IllegalArgumentException, quotas.list_service_quotas, {"ServiceCode": "b_d"}),
        (
            known.InvalidPaginationTokenException,
            quotas.list_service_quotas,
            {"ServiceCode": "bedrock", "NextToken": "bm8="},
        ),
    ):
        with pytest.raises(error) as refusal:
            call(**query)
        assert refusal.value.response["Error"]["Message"]
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("faults", "code", "status"),
    [
        ({"throttle_rate": 1}, "TooManyRequestsException", 400),
        ({"server_error_rate": 1}, "ServiceException", 500),
        ({"access_denied": True}, "AccessDeniedException", 400),
    ],
)
def test_faults_of_quota_calls(start: StartLab, faults: dict[str, Any], code: str, status: int) -> None:
    """Faults strike Service Quotas too, under its own names."""
    lab = start(speed=1)
    lab.faults(**faults, only_operations=["ListServiceQuotas"])
    client = connect_to("service-quotas", lab.emulator.endpoint_url)
    with pytest.raises(ClientError) as error:
        client.list_service_quotas(ServiceCode="bedrock")
    assert (error_code(error), error.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    client.list_aws_default_service_quotas(ServiceCode="bedrock")
    client.close()


def test_custom_models_have_a_quota_of_their_own(start: StartLab) -> None:
    """Three jobs of one custom model may be in flight, whatever base models may have."""
    lab = start(speed=1)
    model = "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abcdefghij12"
    for i in range(3):
        lab.create(f"job-{i}", model=model)
    with pytest.raises(lab.client.exceptions.ServiceQuotaExceededException, match="quota of 3"):
        lab.create("job-3", model=model)
