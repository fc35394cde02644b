"""
Mistral's newer models: chat completion.

Sources, 2026-11: Amazon Bedrock user guide, Mistral AI chat completion, Mistral Large (24.07), Pixtral Large
(`stop_reason` in a choice; a tool can be forced by `tool_choice: any` alone), and "Get validated JSON results" for the
open-weight ones.
"""

from dataclasses import replace

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import TOOL, Prompt, sampling
from bedrock_assets.families.chat import FAMILY as CHAT
from bedrock_assets.families.chat import messages, response_format
from bedrock_assets.families.jsontext import Tree
from bedrock_assets.families.mistral import COMPLETION


def _request(prompt: Prompt, task: TextTask) -> Tree:
    params = sampling(task, max_tokens="max_tokens", temperature="temperature", top_p="top_p", stop="stop")
    request = {"messages": messages(prompt), **params, **response_format(prompt)}
    schema = prompt.schema_for("tool")
    if schema is None:
        return request
    function = {"name": TOOL, "description": "Give the answer.", "parameters": schema}
    return request | {"tools": [{"type": "function", "function": function}], "tool_choice": "any"}


FAMILY = replace(
    CHAT,
    name="mistral_chat",
    models=rf"(?!{COMPLETION})mistral\..*",
    request=_request,
    truncated=("length", "model_length"),
    modes={"tool": r"mistral\.(?:mistral-large-2407|pixtral-).*", "native": ".*", "prompt": ".*"},
)
