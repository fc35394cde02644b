"""
The Converse request, for any model that supports it.

Sources, 2026-11: botocore 1.44 service model of Converse (`image`, `outputConfig.textFormat`, whose schema is a
string), Amazon Bedrock user guide, batch inference and "Get validated JSON results". A `toolConfig` was seen to be
refused in batch, so a schema goes by `outputConfig` or by the prompt.
"""

import json
from dataclasses import replace

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.anthropic import NATIVE
from bedrock_assets.families.base import TOOL, Prompt
from bedrock_assets.families.jsontext import Tree
from bedrock_assets.families.nova import FAMILY as NOVA
from bedrock_assets.families.nova import request

OPEN_WEIGHT = (
    r"(?:openai\.gpt-oss|qwen\.|deepseek\.v3|google\.gemma|nvidia\.|minimax\.|moonshot|zai\.)"
    r".*|mistral\.(?:ministral|magistral|voxtral|mistral-large-3).*"
)
"""Open-weight models whose answers the service can hold to a schema. Source: their model cards, 2026."""


def _request(prompt: Prompt, task: TextTask) -> Tree:
    schema = prompt.schema_for("native")
    if schema is None:
        return request(prompt, task)
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": TOOL}}}
    return request(prompt, task) | {"outputConfig": {"textFormat": text_format}}


# Nova's own format is the Converse format; Converse answers carry the other union members as nulls, which reading
# `text` alone skips.
FAMILY = replace(
    NOVA,
    name="converse",
    models=r"(?!)",
    request=_request,
    invocation_type="Converse",
    modes={"native": f"{NATIVE}|{OPEN_WEIGHT}", "prompt": ".*"},
)
