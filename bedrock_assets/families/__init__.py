"""Model families. A new one is a file here, a line in `FAMILIES`, and a golden pair under `tests/golden`."""

import re

from bedrock_assets.config.pipeline import PipelineSpec, SchemaMode, WorkloadSpec
from bedrock_assets.config.target import bare_id
from bedrock_assets.errors import ConfigError, UnknownModel
from bedrock_assets.families import (
    anthropic,
    chat,
    cohere_embed_v3,
    cohere_embed_v4,
    converse,
    deepseek_r1,
    gpt_oss,
    jamba,
    llama,
    llama4,
    mistral,
    mistral_chat,
    nova,
    titan_embed_g1,
    titan_embed_multimodal,
    titan_embed_v2,
    titan_text,
)
from bedrock_assets.families.base import AnswerFormat, Family, Image, Kind, Prompt, Task, refuse_task
from bedrock_assets.families.jsontext import encoded

__all__ = [
    "FAMILIES",
    "AnswerFormat",
    "Family",
    "Image",
    "Kind",
    "Prompt",
    "Task",
    "bare_id",
    "encoded",
    "family_for",
    "family_named",
    "family_of",
    "schema_mode_of",
    "task_of",
]

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY
    for module in (
        *(anthropic, nova, converse, chat, gpt_oss, mistral_chat, jamba),
        *(llama, llama4, mistral, deepseek_r1, titan_text),
        *(titan_embed_v2, titan_embed_g1, titan_embed_multimodal, cohere_embed_v3, cohere_embed_v4),
    )
}


def schema_mode_of(spec: PipelineSpec, family: Family) -> SchemaMode:
    """
    The way a pipeline asks for a structured answer.

    Raises:
        ConfigError: The family has no such way.
    """
    if spec.schema_mode != "auto":
        if spec.schema_mode in family.modes:
            return spec.schema_mode
        raise ConfigError(
            f"schema_mode: {spec.schema_mode} is not known for {family.name}; choose one of: auto, "
            f"{', '.join(family.modes)}"
        )
    bare = bare_id(spec.model)
    fitting: list[SchemaMode] = [mode for mode, models in family.modes.items() if re.fullmatch(models, bare)]
    return fitting[0] if fitting else "prompt"


def family_for(model: str) -> Family:
    """
    The family of a model id, an inference profile id, or an ARN that ends in one of these.

    Raises:
        UnknownModel: No family is registered for it.
    """
    bare = bare_id(model)
    for family in FAMILIES.values():
        if re.fullmatch(family.models, bare):
            return family
    raise UnknownModel(
        f"model {model!r} is not known; known families: {', '.join(FAMILIES)}. Correct the id, name its format with "
        "`family:`, or set `model_invocation_type: Converse` if the model supports the Converse API."
    )


def family_named(spec: WorkloadSpec) -> Family:
    """
    The family of a spec's model.

    Raises:
        UnknownModel: The model or the named family is not registered.
    """
    if spec.model_invocation_type == "Converse":
        return FAMILIES["converse"]
    if spec.family is None:
        return family_for(spec.model)
    if spec.family in FAMILIES:
        return FAMILIES[spec.family]
    raise UnknownModel(f"family {spec.family!r} is not known; choose one of: {', '.join(FAMILIES)}")


def family_of(spec: PipelineSpec) -> Family:
    """
    The family a pipeline uses, its task checked.

    Raises:
        UnknownModel: The model or the named family is not registered.
        ConfigError: The family does not do the task, or refuses its parameters.
    """
    family = family_named(spec)
    refuse_task(bare_id(spec.model), family, task_of(spec))
    return family


def task_of(spec: PipelineSpec) -> Task:
    """The one task of a pipeline."""
    return spec.task.asked
