"""
Whether Create takes the model, the role and the buckets of a job, as a new account on AWS would.

What is known of models stands in the catalogue. A fact that it does not state refuses nothing; an id that it does not
know is refused, as AWS refuses a misspelt one.
"""

import logging
from datetime import date

from bedrock_assets.emulator.jsontypes import JsonObject, as_object, as_str
from bedrock_assets.emulator.models import ACCOUNT_ID
from bedrock_assets.emulator.refusals import CreateRefusal, refusal
from bedrock_assets.models import Model, bare_id, find_model

logger = logging.getLogger(__name__)

_REGIONS: dict[str, tuple[str, ...]] = {
    "us": ("us-east-", "us-west-", "ca-"),
    "us-gov": ("us-gov-",),
    "eu": ("eu-",),
    "apac": ("ap-",),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4", "ap-southeast-6"),
    "in": ("ap-south-",),
    "ca": ("ca-",),
}
"""Beginnings of the Regions from which the profiles of a geography are called; `global` ones from all commercial ones
(Amazon Bedrock user guide, inference profiles, 2026-11)."""

_KINDS_BY_ID = ("foundation-model", "inference-profile")
"""ARNs that end in an id of a model of the catalogue; others are models and profiles of the account's own."""


def admit(request: JsonObject, region: str, today: date) -> None:
    """
    Check a Create request whose form is right.

    Raises:
        AWSError: AWS would refuse it.
    """
    reason = _refused_caller(request) or _refused_model(as_str(request["modelId"]), region, today)
    if reason is not None:
        logger.warning("Create of %s is refused: %s (see --any-model)", request["jobName"], reason)
        raise refusal(reason)


def _refused_caller(request: JsonObject) -> CreateRefusal | None:
    if _account(as_str(request["roleArn"])) != ACCOUNT_ID:
        return "foreign_role"
    for side in ("input", "output"):
        config = as_object(as_object(request[f"{side}DataConfig"]).get(f"s3{side.title()}DataConfig"))
        if config.get("s3BucketOwner", ACCOUNT_ID) != ACCOUNT_ID:
            return "bucket_owner"
    return None


def _refused_model(model_id: str, region: str, today: date) -> CreateRefusal | None:
    if model_id.startswith("arn:"):
        kind, _, _ = model_id.split(":", 5)[5].partition("/")
        own_account = "" if kind == "foundation-model" else ACCOUNT_ID
        if (_region(model_id), _account(model_id)) != (region, own_account):
            return "foreign_arn"
        if kind not in _KINDS_BY_ID:
            return None
    model = find_model(model_id)
    if model is None:
        return "unknown_model"
    return _refused_life(model, today) or _refused_profile(model, model_id, region)


def _refused_life(model: Model, today: date) -> CreateRefusal | None:
    stage = model.stage(today)
    if stage == "ended":
        return "ended"
    if model.batch is False:
        return "no_batch"
    return "legacy" if stage == "legacy" else None


def _refused_profile(model: Model, model_id: str, region: str) -> CreateRefusal | None:
    geography = model_id.rpartition("/")[2].removesuffix(bare_id(model_id)).removesuffix(".")
    if not geography:
        return "needs_profile" if model.profile else None
    if model.profiles and geography not in model.profiles:
        return "unknown_model"
    is_commercial = not region.startswith("us-gov-")
    serves = is_commercial if geography == "global" else region.startswith(_REGIONS[geography])
    return None if serves else "wrong_geography"


def _region(arn: str) -> str:
    return arn.split(":", 5)[3]


def _account(arn: str) -> str:
    return arn.split(":", 5)[4]
