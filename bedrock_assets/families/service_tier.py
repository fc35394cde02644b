"""The flex tier of on-demand calls: cheaper, slower, and only for some models."""

import re

from bedrock_assets.config import WorkloadSpec, bare_id
from bedrock_assets.errors import ConfigError

_WITH = re.compile(r"openai\.gpt-oss.*|qwen\.qwen3.*|deepseek\.v3.*|amazon\.nova-pro.*")
_WITHOUT = re.compile(r"anthropic\..*|.*\.?embed.*")
"""Source: service tiers for inference, Amazon Bedrock user guide, 2026-11."""


def has_flex(model: str) -> bool | None:
    """Whether a model can be called in the flex tier; None if that is not known."""
    bare = bare_id(model)
    if _WITH.fullmatch(bare):
        return True
    return False if _WITHOUT.fullmatch(bare) else None


def require_flex(spec: WorkloadSpec) -> None:
    """
    Raises:
        ConfigError: `on_small` is `flex`, and the first model, which answers on demand, does not have that tier.
    """
    if spec.on_small == "flex" and has_flex(spec.model) is False:
        raise ConfigError(
            f"on_small: model {spec.model!r} has no flex tier; set `on_small: on_demand`, which costs the full price, "
            "or put a model with that tier, such as gpt-oss, Qwen3, DeepSeek V3 or Nova Pro, first under `model`"
        )
