"""
The batch quotas as Service Quotas lists them: one set for each model, with the emulator's own limits as values.

Names are those of the real service (2026-11), which spells "in GB" in two ways. Real quota codes are not documented,
so the codes here are hashes of the names: look quotas up by name.
"""

from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b

from bedrock_assets.emulator.exceptions import InvalidPaginationTokenException, NoSuchResourceException
from bedrock_assets.emulator.inputs import MAX_JOB_BYTES
from bedrock_assets.emulator.jsontypes import JsonObject, read_token, write_token
from bedrock_assets.emulator.models import ACCOUNT_ID
from bedrock_assets.limits import GB, JobLimits

SERVICE_CODE = "bedrock"
DEFAULT_PAGE = 100

DISPLAY_NAMES = {
    "anthropic.claude-3-haiku-20240307-v1:0": "Claude 3 Haiku",
    "anthropic.claude-3-5-haiku-20241022-v1:0": "Claude 3.5 Haiku",
    "anthropic.claude-3-5-sonnet-20241022-v2:0": "Claude 3.5 Sonnet v2",
    "anthropic.claude-haiku-4-5-20251001-v1:0": "Claude Haiku 4.5",
    "anthropic.claude-sonnet-4-5-20250929-v1:0": "Claude Sonnet 4.5",
    "amazon.nova-micro-v1:0": "Nova Micro V1",
    "amazon.nova-lite-v1:0": "Nova Lite V1",
    "amazon.nova-pro-v1:0": "Nova Pro V1",
    "amazon.titan-embed-text-v2:0": "Titan Text Embeddings V2",
    "amazon.titan-embed-image-v1": "Titan Multimodal Embeddings G1",
    "meta.llama3-1-8b-instruct-v1:0": "Llama 3.1 8B Instruct",
    "mistral.mistral-large-2407-v1:0": "Mistral Large 2 (24.07)",
}
"""Model id to the name in its quotas. Other models have quotas too, but are not listed."""


def quota_page(limits: JobLimits, region: str, query: JsonObject) -> JsonObject:
    """
    One page of ListServiceQuotas or ListAWSDefaultServiceQuotas.

    Raises:
        NoSuchResourceException: The service is not Bedrock.
        InvalidPaginationTokenException: The token is not from this service.
    """
    code, size = query.get("QuotaCode"), query.get("MaxResults", DEFAULT_PAGE)
    matching = [quota for quota in _service_quotas(limits, region, query) if code in (None, quota["QuotaCode"])]
    start = _start(str(query["NextToken"])) if "NextToken" in query else 0
    end = start + (size if isinstance(size, int) else DEFAULT_PAGE)
    page: JsonObject = {"Quotas": [*matching[start:end]]}
    return page | ({"NextToken": write_token([end])} if end < len(matching) else {})


def one_quota(limits: JobLimits, region: str, query: JsonObject) -> JsonObject:
    """
    The response of GetServiceQuota or GetAWSDefaultServiceQuota.

    Raises:
        NoSuchResourceException: There is no such quota or service.
    """
    for quota in _service_quotas(limits, region, query):
        if quota["QuotaCode"] == query["QuotaCode"]:
            return {"Quota": quota}
    raise NoSuchResourceException("The request failed because the specified service quota does not exist.")


def _service_quotas(limits: JobLimits, region: str, query: JsonObject) -> list[JsonObject]:
    """Every batch quota of an account with these limits."""
    if query["ServiceCode"] != SERVICE_CODE:
        raise NoSuchResourceException("The request failed because the specified service does not exist.")
    return [
        _quota(name, value, region)
        for model_id, model in DISPLAY_NAMES.items()
        for name, value in _values(model_id, model, limits)
    ]


def _values(model_id: str, model: str, limits: JobLimits) -> Iterator[tuple[str, float]]:
    # the real service puts the unit before or after the model
    unit_first = model_id.startswith("anthropic.")
    per_gb = "{} (in GB) for {}" if unit_first else "{} for {} (in GB)"
    yield f"Minimum number of records per batch inference job for {model}", limits.min_records_per_job
    yield f"Records per batch inference job for {model}", limits.max_records_per_job
    yield f"Records per input file per batch inference job for {model}", limits.max_records_per_job
    yield per_gb.format("Batch inference input file size", model), limits.max_bytes_per_file / GB
    yield per_gb.format("Batch inference job size", model), MAX_JOB_BYTES / GB
    yield f"Sum of in-progress and submitted batch inference jobs using a base model for {model}", limits.max_jobs


def _quota(name: str, value: float, region: str) -> JsonObject:
    code = f"L-{blake2b(name.encode(), digest_size=4).hexdigest().upper()}"
    return {
        "ServiceCode": SERVICE_CODE,
        "ServiceName": "Amazon Bedrock",
        "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT_ID}:{SERVICE_CODE}/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": float(value),
        "Unit": "None",
        "Adjustable": not name.startswith("Minimum"),
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }


def _start(token: str) -> int:
    with suppress(ValueError):
        match read_token(token):
            case [int(start)]:
                return start
            case _:
                pass
    raise InvalidPaginationTokenException("Invalid token was provided.")
