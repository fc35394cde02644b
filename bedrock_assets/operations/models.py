"""The catalogue of models as people see it, and what an account says otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.models import Catalogue, Model, catalogue
from bedrock_assets.operations.doctor import QUOTAS
from bedrock_assets.operations.probes import Probe
from bedrock_assets.prices import listed_price

MAX_AGE_DAYS = 90
"""An older catalogue is told as such."""


@dataclass(frozen=True)
class ModelRow:
    """What is shown of a model; None is unknown."""

    id: str
    """What to write under `model:`; else the beginning that several ids share, with `*`."""
    name: str
    family: str | None
    batch: bool | None
    lifecycle: str
    """`active`, `legacy` or `ended`, and until when."""
    profile: bool | None
    context: int | None
    max_output: int | None
    thinking: str | None
    input_usd_per_mtok: float | None
    """In a batch job."""
    output_usd_per_mtok: float | None


def list_models(today: date, pattern: str = "", *, every: bool = False) -> list[ModelRow]:
    """
    The models of the catalogue whose id, name or family has *pattern* in it.

    Args:
        every: Also those that have ended, or cannot run in batch.
    """
    wanted = pattern.lower()
    return [
        _row(model, today)
        for model in catalogue().models
        if any(wanted in text.lower() for text in (model.id, model.example or "", model.name, model.family or ""))
        and (every or (model.batch is not False and model.stage(today) != "ended"))
    ]


def _row(model: Model, today: date) -> ModelRow:
    price = None if model.batch is False else listed_price(model.example or model.id.partition("*")[0])
    stage, end = model.stage(today), model.end_of_life
    factor = price.batch_factor if price else 1.0
    return ModelRow(
        model.example or model.id,
        model.name,
        model.family,
        model.batch,
        stage if end is None else f"{stage}, {'since' if stage == 'ended' else 'until'} {end}",
        model.profile,
        model.context,
        model.max_output,
        model.thinking,
        price.input_usd_per_mtok * factor if price else None,
        price.output_usd_per_mtok * factor if price else None,
    )


@dataclass(frozen=True)
class Difference:
    """Where an account says otherwise than the catalogue."""

    model: str
    fact: str
    catalogue: str
    account: str


def check_models(probe: Probe, today: date, known: Catalogue) -> list[Difference]:
    """
    Hold a catalogue against what the account of a region says.

    Raises:
        ClientError: The account may not list models.
        BotoCoreError: Bedrock cannot be reached.
    """
    bedrock = probe.client_of("bedrock")
    summaries: Sequence[Mapping[str, Any]] = bedrock.list_foundation_models()["modelSummaries"]
    pages = bedrock.get_paginator("list_inference_profiles").paginate(typeEquals="SYSTEM_DEFINED")
    profiles = {profile["inferenceProfileId"] for page in pages for profile in page["inferenceProfileSummaries"]}
    batch = _batch_names(probe)
    return [
        difference
        for summary in summaries
        for difference in _differences(known.find(summary["modelId"]), summary, profiles, batch, today)
    ]


def _batch_names(probe: Probe) -> set[str] | None:
    """Names of the models that have batch quotas; None if the account may not list them."""
    head = QUOTAS["max_jobs"].removesuffix("{}")
    with suppress(BotoCoreError, ClientError):
        pages = probe.client_of("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="bedrock")
        names = {quota["QuotaName"] for page in pages for quota in page["Quotas"]}
        return {name.removeprefix(head) for name in names if name.startswith(head)}
    return None


def _differences(
    model: Model | None, summary: Mapping[str, Any], profiles: set[str], batch: set[str] | None, today: date
) -> Iterator[Difference]:
    model_id = str(summary["modelId"])
    if model is None:
        yield Difference(
            model_id,
            "model",
            "not in it",
            f"{summary.get('modelName', 'a model')} by {summary.get('providerName', '?')}",
        )
        return
    facts = {**_lifecycle(model, summary.get("modelLifecycle") or {}, today), **_abilities(model, summary)}
    for fact, (ours, theirs) in facts.items():
        if ours != theirs:
            yield Difference(model_id, fact, _told(ours), _told(theirs))
    known = {f"{prefix}.{model_id}" for prefix in model.profiles}
    found = {profile for profile in profiles if profile.partition(".")[2] == model_id}
    if found and known - profiles:
        yield Difference(model_id, "profiles", ", ".join(model.profiles), _told(sorted(found)))
    if batch and model.name in batch and model.batch is False:
        # A quota alone proves nothing: it is listed for accounts that are not entitled, too.
        yield Difference(model_id, "batch", "no", "has batch quotas, which proves nothing; ask Create itself")


def _lifecycle(model: Model, lifecycle: Mapping[str, Any], today: date) -> dict[str, tuple[object, object]]:
    """By fact, ours and the account's, as far as the account tells it."""
    theirs = "legacy" if lifecycle.get("status") == "LEGACY" else "active"
    moments = {"end_of_life": "endOfLifeTime", "legacy": "legacyTime"}
    told = {fact: lifecycle[name].date() for fact, name in moments.items() if lifecycle.get(name)}
    dates = {fact: (getattr(model, fact), day) for fact, day in told.items()}
    ours = model.stage(today)
    # AWS has no word for an ended model: it keeps LEGACY, or drops the model from its list.
    return {"lifecycle": ("legacy" if ours == "ended" else ours, theirs), **dates}


def _abilities(model: Model, summary: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    """By fact, ours and the account's, where both are known."""
    found: dict[str, tuple[object, object]] = {}
    kinds = summary.get("inferenceTypesSupported")
    if model.profile is not None and kinds is not None and kinds != ["PROVISIONED"]:
        found["profile"] = (model.profile, "ON_DEMAND" not in kinds)
    if model.images is not None and (modalities := summary.get("inputModalities")):
        found["images"] = (model.images, "IMAGE" in modalities)
    return found


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "unknown" if value is None else str(value)
