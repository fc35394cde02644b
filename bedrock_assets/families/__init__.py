"""Model families. A new one is a file here, a line in `FAMILIES`, and a golden pair under `tests/golden`."""

import re

from bedrock_assets.errors import UnknownModel
from bedrock_assets.families import anthropic, converse, nova, titan_embed_v2
from bedrock_assets.families.base import Family, Kind, Prompt, Task, refuse_task
from bedrock_assets.spec import EmbeddingTask, PipelineSpec

__all__ = ["FAMILIES", "Family", "Kind", "Prompt", "Task", "family_for", "family_of", "task_of"]

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (anthropic, nova, converse, titan_embed_v2)
}

_REGION = re.compile(r"^(?:us|eu|apac|jp|au|ca|us-gov|global)\.")


def family_for(model: str) -> Family:
    """
    The family of a model id, an inference profile id, or an ARN that ends in one of these.

    Raises:
        UnknownModel: No family is registered for it.
    """
    bare = _REGION.sub("", model.rpartition("/")[2] if model.startswith("arn:") else model)
    for family in FAMILIES.values():
        if re.fullmatch(family.models, bare):
            return family
    raise UnknownModel(
        f"model {model!r} is not known; known families: {', '.join(FAMILIES)}. Correct the id, name its format with "
        "`family:`, or set `model_invocation_type: Converse` if the model supports the Converse API."
    )


def family_of(spec: PipelineSpec) -> Family:
    """
    The family a pipeline uses, its task checked.

    Raises:
        UnknownModel: The model or the named family is not registered.
        ConfigError: The family does not do the task, or refuses its parameters.
    """
    if spec.model_invocation_type == "Converse":
        family = FAMILIES["converse"]
    elif spec.family is None:
        family = family_for(spec.model)
    elif spec.family in FAMILIES:
        family = FAMILIES[spec.family]
    else:
        raise UnknownModel(f"family {spec.family!r} is not known; choose one of: {', '.join(FAMILIES)}")
    refuse_task(spec.model, family, task_of(spec))
    return family


def task_of(spec: PipelineSpec) -> Task:
    """The one task of a pipeline."""
    task = spec.task.text or spec.task.embedding
    return task or EmbeddingTask(column="")  # the spec's validator holds that one is set
