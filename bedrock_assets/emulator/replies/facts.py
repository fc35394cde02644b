"""
What a single model refuses, by the catalogue of models: parameters, more tokens than it writes, ways to ask for JSON.

The messages are those of field reports of 2026, where there are any.
"""

from bedrock_assets.emulator.jsontypes import JsonObject, as_object
from bedrock_assets.emulator.replies.base import RecordError
from bedrock_assets.models import Model, find_model

_NAMES = {"temperature": "temperature", "top_p": "topP", "top_k": "topK"}
"""Parameters under the names of Anthropic and of Amazon."""


def check_facts(model_id: str, settings: JsonObject, max_tokens: int) -> None:
    """
    Check a request against what is known of its model; of a model that is not in the catalogue nothing is.

    Args:
        settings: The members of the request that hold parameters.

    Raises:
        RecordError: The model refuses the request.
    """
    facts = find_model(model_id)
    if facts is None:
        return
    _check_sampling(facts, settings)
    _check_thinking(facts, settings)
    if facts.max_output is not None and max_tokens > facts.max_output:
        raise RecordError(
            f"The maximum tokens you requested exceeds the model limit of {facts.max_output}. Try again with a maximum "
            f"tokens value that is lower than {facts.max_output}."
        )
    output_config = as_object(settings.get("output_config"))
    is_known = "schema_modes" in facts.model_fields_set
    if output_config.get("format") is not None and is_known and "native" not in facts.schema_modes:
        raise RecordError("output_config.format: Extra inputs are not permitted")
    forced = as_object(settings.get("tool_choice")).get("type") in ("tool", "any")
    is_asked_to_think = as_object(settings.get("thinking")).get("type") in ("enabled", "adaptive")
    if forced and ("forced_tool" in facts.refuses or is_asked_to_think):
        raise RecordError("Thinking may not be enabled when tool_choice forces tool use.")


def _check_sampling(facts: Model, settings: JsonObject) -> None:
    given = {name: settings.get(name, settings.get(other)) for name, other in _NAMES.items()}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name in facts.refuses and value != 1:
            raise RecordError(f"`{name}` is deprecated for this model.")
    if "temperature+top_p" in facts.refuses and given.keys() >= {"temperature", "top_p"}:
        raise RecordError("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")


def _check_thinking(facts: Model, settings: JsonObject) -> None:
    thinking = as_object(settings.get("thinking"))
    kind = thinking.get("type")
    if kind in ("enabled", "adaptive") and facts.thinking == "none":
        raise RecordError("thinking: Extra inputs are not permitted")
    if kind == "enabled" and facts.thinking_forms == ("adaptive",):
        raise RecordError(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    if kind == "adaptive" and facts.thinking_forms == ("budget",):
        raise RecordError("adaptive thinking is not supported on this model")
    effort = as_object(settings.get("output_config")).get("effort")
    if effort is not None and "effort" in facts.model_fields_set and effort not in facts.effort:
        allowed = ", ".join(f"'{value}'" for value in facts.effort)
        raise RecordError(f"output_config.effort: Input should be {allowed}")
