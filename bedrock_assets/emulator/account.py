"""
Which models an account of the emulator has: those of the catalogue, whatever it says of their lives.

An ended model is not listed, as AWS drops it from its lists.
"""

from datetime import date, datetime, time

from bedrock_assets.emulator.exceptions import ResourceNotFoundException
from bedrock_assets.emulator.jsontypes import Json, JsonObject
from bedrock_assets.emulator.models import ACCOUNT_ID
from bedrock_assets.emulator.wire import timestamp
from bedrock_assets.models import Model, bare_id, catalogue, find_model

MAX_NAME_CHARS = 20
"""Of a model's name (service model)."""


def foundation_models(region: str) -> JsonObject:
    """The response of ListFoundationModels."""
    return {"modelSummaries": [_details(model, _id(model), region) for model in _living()]}


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


def inference_profiles(region: str) -> JsonObject:
    """The response of ListInferenceProfiles, all on one page."""
    profiles: list[Json] = []
    for model in _living():
        for prefix in model.profiles:
            profile = f"{prefix}.{_id(model)}"
            own = f"arn:aws:bedrock:{region}:{ACCOUNT_ID}:inference-profile/{profile}"
            profiles.append(
                {
                    "inferenceProfileName": f"{prefix.upper()} {model.name}".replace(".", "-"),
                    "inferenceProfileArn": own,
                    "inferenceProfileId": profile,
                    "models": [{"modelArn": _arn(_id(model), region)}],
                    "status": "ACTIVE",
                    "type": "SYSTEM_DEFINED",
                }
            )
    return {"inferenceProfileSummaries": profiles}


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
