"""
Model families: the request and response formats of the models, in one file per kind of request.

A new one is a `Family` in one of these files, a name in `FAMILIES`, and a golden pair in `tests/golden`.
"""

import re

from bedrock_assets.config import PipelineSpec, SchemaMode, WorkloadSpec, bare_id
from bedrock_assets.errors import ConfigError, UnknownModel
from bedrock_assets.families.amazon import CONVERSE, NOVA, TITAN_TEXT
from bedrock_assets.families.anthropic import ANTHROPIC
from bedrock_assets.families.base import AnswerFormat, Family, Image, Kind, Prompt, Task, refuse_task
from bedrock_assets.families.chat import CHAT, GPT_OSS, JAMBA, MISTRAL_CHAT
from bedrock_assets.families.embeddings import (
    COHERE_EMBED_V3,
    COHERE_EMBED_V4,
    TITAN_EMBED_G1,
    TITAN_EMBED_MULTIMODAL,
    TITAN_EMBED_V2,
)
from bedrock_assets.families.json_template import Plain, Tree, encoded
from bedrock_assets.families.raw_prompt import DEEPSEEK_R1, LLAMA, LLAMA4, MISTRAL
from bedrock_assets.families.service_tier import require_flex

__all__ = [
    "FAMILIES",
    "AnswerFormat",
    "Family",
    "Image",
    "Kind",
    "Plain",
    "Prompt",
    "Task",
    "Tree",
    "bare_id",
    "encoded",
    "family_for",
    "family_named",
    "family_of",
    "refuse_task",
    "schema_mode_of",
    "task_of",
]

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *(ANTHROPIC, NOVA, CONVERSE, CHAT, GPT_OSS, MISTRAL_CHAT, JAMBA),
        *(LLAMA, LLAMA4, MISTRAL, DEEPSEEK_R1, TITAN_TEXT),
        *(TITAN_EMBED_V2, TITAN_EMBED_G1, TITAN_EMBED_MULTIMODAL, COHERE_EMBED_V3, COHERE_EMBED_V4),
    )
}


def schema_mode_of(spec: PipelineSpec, family: Family) -> SchemaMode:
    """
    How a pipeline asks for a structured answer.

    Raises:
        ConfigError: The family does not support the pipeline's `schema_mode`.
    """
    if spec.schema_mode != "auto":
        if spec.schema_mode in family.modes:
            return spec.schema_mode
        raise ConfigError(
            f"schema_mode: {family.name} does not support {spec.schema_mode}; choose one of: auto, "
            f"{', '.join(family.modes)}"
        )
    bare = bare_id(spec.model)
    supported: list[SchemaMode] = [mode for mode, models in family.modes.items() if re.fullmatch(models, bare)]
    return supported[0] if supported else "prompt"


def family_for(model: str) -> Family:
    """
    The family of a model id, an inference profile id, or an ARN that ends in one of these.

    Raises:
        UnknownModel: No family matches it.
    """
    for family in FAMILIES.values():
        if re.fullmatch(family.models, bare_id(model)):
            return family
    raise UnknownModel(
        f"model {model!r} is not known; known families: {', '.join(FAMILIES)}. Correct the id, name its format with "
        "`family:`, or set `model_invocation_type: Converse` if the model supports the Converse API"
    )


def family_named(spec: WorkloadSpec) -> Family:
    """
    The family that a spec names, or the family of its model.

    Raises:
        UnknownModel: There is no such family, or none matches the model.
        ConfigError: The model has no flex tier, and `on_small` asks for it.
    """
    require_flex(spec)
    if spec.model_invocation_type == "Converse":
        return FAMILIES["converse"]
    if spec.family is None:
        return family_for(spec.model)
    if spec.family in FAMILIES:
        return FAMILIES[spec.family]
    raise UnknownModel(f"family {spec.family!r} is not known; choose one of: {', '.join(FAMILIES)}")


def family_of(spec: PipelineSpec) -> Family:
    """
    The family of a pipeline, after checking that it can do the pipeline's task.

    Raises:
        UnknownModel: There is no such family, or none matches the model.
        ConfigError: The model cannot do the task, or refuses its parameters.
    """
    family = family_named(spec)
    refuse_task(bare_id(spec.model), family, task_of(spec))
    return family


def task_of(spec: PipelineSpec) -> Task:
    """The one task of a pipeline."""
    return spec.task.asked
