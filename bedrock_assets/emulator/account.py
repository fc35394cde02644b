"""
Which models an account of the emulator has: those of the catalogue, whatever it says of their lives.

An ended model is not listed, as AWS drops it from its lists.
"""

from contextlib import suppress
from datetime import date, datetime, time

from pydantic import ValidationError

from bedrock_assets.emulator.complaints import in_one_line
from bedrock_assets.emulator.exceptions import ResourceNotFoundException, ValidationException
from bedrock_assets.emulator.jsontypes import Json, JsonObject, read_token, write_token
from bedrock_assets.emulator.models import ACCOUNT_ID
from bedrock_assets.emulator.wire import timestamp
from bedrock_assets.models import Model, bare_id, catalogue, find_model

MAX_NAME_CHARS = 20
"""Of a model's name (service model)."""


def check_catalogue() -> None:
    """
    Read the catalogue of models, which all answers depend on.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        catalogue()
    except ValidationError as error:
        problem = in_one_line(error, ())
    except (OSError, ValueError) as error:
        problem = str(error)
    else:
        return
    raise ValueError(f"the catalogue of models cannot be read: {problem}. Install the package anew")


_FILTERS = {
    "byProvider": "providerName",
    "byOutputModality": "outputModalities",
    "byInferenceType": "inferenceTypesSupported",
    "byCustomizationType": "customizationsSupported",
}
"""Filters of ListFoundationModels, and what of a model they look at."""


def foundation_models(region: str, query: JsonObject) -> JsonObject:
    """The response of ListFoundationModels."""
    models = [_details(model, _id(model), region) for model in _living()]
    for name, member in _FILTERS.items():
        wanted = query.get(name)
        if isinstance(wanted, str):
            models = [model for model in models if _has(model.get(member), wanted)]
    return {"modelSummaries": [*models]}


def foundation_model(identifier: str, region: str) -> JsonObject:
    """
    The response of GetFoundationModel.

    Raises:
        ResourceNotFoundException: The catalogue has no such model.
    """
    model = find_model(identifier)
    if model is None:
        raise ResourceNotFoundException(f"Could not find model {identifier}.")
    return {"modelDetails": _details(model, bare_id(identifier), region)}


def inference_profiles(region: str, query: JsonObject) -> JsonObject:
    """The response of ListInferenceProfiles; an account of the emulator has no profiles of its own."""
    if query.get("typeEquals", "SYSTEM_DEFINED") != "SYSTEM_DEFINED":
        return {"inferenceProfileSummaries": []}
    profiles, token, size = _profiles(region), query.get("nextToken"), query.get("maxResults")
    start = _first(token) if isinstance(token, str) else 0
    end = start + (size if isinstance(size, int) else len(profiles))
    more: JsonObject = {"nextToken": write_token(end)} if end < len(profiles) else {}
    return {"inferenceProfileSummaries": [*profiles[start:end]], **more}


def inference_profile(identifier: str, region: str) -> JsonObject:
    """
    The response of GetInferenceProfile.

    Raises:
        ResourceNotFoundException: The catalogue has no such profile.
    """
    for profile in _profiles(region):
        if identifier in (profile["inferenceProfileId"], profile["inferenceProfileArn"]):
            return profile
    raise ResourceNotFoundException(f"Could not find inference profile {identifier}.")


def _profiles(region: str) -> list[JsonObject]:
    return [
        {
            "inferenceProfileName": f"{prefix.upper()} {model.name}".replace(".", "-"),
            "inferenceProfileArn": f"arn:aws:bedrock:{region}:{ACCOUNT_ID}:inference-profile/{prefix}.{_id(model)}",
            "inferenceProfileId": f"{prefix}.{_id(model)}",
            "models": [{"modelArn": _arn(_id(model), region)}],
            "status": "ACTIVE",
            "type": "SYSTEM_DEFINED",
        }
        for model in _living()
        for prefix in model.profiles
    ]


def _first(token: str) -> int:
    with suppress(ValueError):
        if isinstance(start := read_token(token), int):
            return start
    raise ValidationException("The provided nextToken is invalid for this request.")


def _has(found: Json, wanted: str) -> bool:
    """Whether a value, or one of a list, is the wanted one whatever its case."""
    return wanted.lower() in [str(one).lower() for one in (found if isinstance(found, list) else [found])]


def _living() -> list[Model]:
    today = date.today()
    return [model for model in catalogue().models if model.stage(today) != "ended"]


def _id(model: Model) -> str:
    """An id of the model: one that was seen, or else what its pattern begins with."""
    return bare_id(model.example) if model.example else model.id.partition("*")[0]


def _arn(model_id: str, region: str) -> str:
    return f"arn:aws:bedrock:{region}::foundation-model/{model_id}"


def _details(model: Model, model_id: str, region: str) -> JsonObject:
    moments = {"startOfLifeTime": model.launch, "legacyTime": model.legacy, "endOfLifeTime": model.end_of_life}
    is_legacy = model.stage(date.today()) == "legacy"
    lifecycle: JsonObject = {"status": "LEGACY" if is_legacy else "ACTIVE"}
    lifecycle |= {name: _midnight(day) for name, day in moments.items() if day is not None}
    return {
        "modelArn": _arn(model_id, region),
        "modelId": model_id,
        "modelName": model.name[:MAX_NAME_CHARS],
        "providerName": model_id.partition(".")[0],
        "inputModalities": ["TEXT", "IMAGE"] if model.images else ["TEXT"],
        "outputModalities": ["EMBEDDING" if "embed" in (model.family or "") else "TEXT"],
        "inferenceTypesSupported": [] if model.profile else ["ON_DEMAND"],
        "modelLifecycle": lifecycle,
    }


def _midnight(day: date) -> str:
    return timestamp(datetime.combine(day, time()).timestamp())
