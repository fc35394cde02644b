"""
Model families: the request and response formats of the models, in one file per kind of request.

A new one is a `Family` in one of these files, a name in `FAMILIES`, a golden pair in `tests/golden`, and the models
that take it in `models/catalogue.toml`.
"""

import re

from bedrock_assets.config import PipelineSpec, WorkloadSpec, bare_id
from bedrock_assets.errors import UnknownModel
from bedrock_assets.families.amazon import CONVERSE, NOVA, TITAN_TEXT
from bedrock_assets.families.anthropic import ANTHROPIC
from bedrock_assets.families.base import AnswerFormat, Document, Family, Image, Kind, Prompt, Task
from bedrock_assets.families.chat import CHAT, GPT_OSS, JAMBA, MISTRAL_CHAT, OPEN_WEIGHT
from bedrock_assets.families.checks import (
    choose_schema_mode,
    notices,
    require_batch,
    require_capable,
    require_flex,
    require_living,
    with_room,
)
from bedrock_assets.families.documents import DocumentRules, document_rules
from bedrock_assets.families.embeddings import (
    COHERE_EMBED_V3,
    COHERE_EMBED_V4,
    TITAN_EMBED_G1,
    TITAN_EMBED_MULTIMODAL,
    TITAN_EMBED_V2,
)
from bedrock_assets.families.json_template import Plain, Tree, encoded
from bedrock_assets.families.nova_2 import NOVA_2, NOVA_EMBED
from bedrock_assets.families.raw_prompt import DEEPSEEK_R1, LLAMA, LLAMA4, MISTRAL

__all__ = [
    "FAMILIES",
    "AnswerFormat",
    "Document",
    "DocumentRules",
    "Family",
    "Image",
    "Kind",
    "Plain",
    "Prompt",
    "Task",
    "Tree",
    "bare_id",
    "choose_schema_mode",
    "document_rules",
    "encoded",
    "family_named",
    "family_of",
    "notices",
    "require_batch",
    "require_capable",
    "require_living",
    "task_of",
]

_MODEL = re.compile(r"arn:aws[a-z-]*:bedrock:|[a-z0-9-]+\.[A-Za-z0-9]")

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *(ANTHROPIC, NOVA, CONVERSE, CHAT, GPT_OSS, MISTRAL_CHAT, JAMBA),
        *(LLAMA, LLAMA4, MISTRAL, DEEPSEEK_R1, TITAN_TEXT),
        *(TITAN_EMBED_V2, TITAN_EMBED_G1, TITAN_EMBED_MULTIMODAL, COHERE_EMBED_V3, COHERE_EMBED_V4),
        *(NOVA_2, NOVA_EMBED, OPEN_WEIGHT),
    )
}


def family_named(spec: WorkloadSpec) -> Family:
    """
    The family that a spec names, or the family of its first model; Converse for a model that is not known.

    Raises:
        UnknownModel: There is no such family, or none for models of this kind.
        ConfigError: The model has no flex tier, and `on_small` asks for it.
    """
    require_flex(spec)
    if spec.family is None and not _MODEL.match(spec.model):
        raise UnknownModel(
            f"model: {spec.model!r} is no model id, inference profile id or ARN, such as "
            "us.amazon.nova-2-lite-v1:0; `bedrock-assets models` shows those that are known"
        )
    if spec.model_invocation_type == "Converse":
        return FAMILIES["converse"]
    facts = spec.facts_of(spec.model)
    name = spec.family or facts.family
    if name in FAMILIES:
        return FAMILIES[name]
    if spec.family is None:
        raise UnknownModel(
            f"model: {facts.name} answers neither with text nor with one vector a record, so it has no place here; "
            "choose another one"
        )
    raise UnknownModel(f"family {spec.family!r} is not known; choose one of: {', '.join(FAMILIES)}")


def family_of(spec: PipelineSpec) -> Family:
    """
    The family of a pipeline, after checking that its model can do the pipeline's task.

    Raises:
        UnknownModel: There is no such family.
        ConfigError: The model cannot do the task, cannot run in batch, or refuses its parameters.
    """
    family = family_named(spec)
    require_capable(spec, family, task_of(spec))
    return family


def task_of(spec: PipelineSpec) -> Task:
    """The one task of a pipeline."""
    return with_room(spec.task.asked, spec.facts_of(spec.model))
