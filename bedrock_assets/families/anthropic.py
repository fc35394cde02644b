"""
Anthropic Messages API: text, system, images, documents, structured answers.

Sources, 2026-11: Amazon Bedrock user guide, Anthropic Claude Messages (request, response, `image` blocks with base64,
`tool_choice`, `thinking`), "Get validated JSON results" (`output_config.format`, also in batch inference); Anthropic's
API reference (`document` blocks: PDF in base64, plain text). The catalogue of models says which takes which: the newest
refuse a forced tool, models before 4.5 do not have `output_config`.
"""

from typing import Any

import polars as pl

from bedrock_assets.config import TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families.base import TOOL, Family, Prompt, at, joined_text, sampling, text_answer
from bedrock_assets.families.documents import MESSAGES_FORMATS
from bedrock_assets.families.json_template import Plain, Tree, merged
from bedrock_assets.models import Model

VERSION = "bedrock-2023-05-31"
MIN_BUDGET_TOKENS = 1024
"""Source: Anthropic's guide to extended thinking, 2026-11."""
BUDGET_TOKENS = 4096
"""For models whose thinking needs a budget, where the task gives none."""


def _request(prompt: Prompt, task: TextTask) -> Tree:
    params = sampling(task, stop="stop_sequences")
    content = [*_documents(prompt), *_images(prompt), {"type": "text", "text": prompt.text}]
    request = {
        "anthropic_version": VERSION,
        **params,
        "system": prompt.system,
        "messages": [{"role": "user", "content": content}],
    }
    return request | merged(_schema(prompt), claude_fields(task, prompt.facts))


def claude_fields(task: TextTask, facts: Model) -> dict[str, Tree]:
    """What a request says of Claude's own parameters, also as `additionalModelRequestFields` of Converse."""
    fields: dict[str, Tree] = {"top_k": task.top_k}
    if task.thinking is not None:
        fields["thinking"] = _thinking(task.thinking, facts)
    return fields | ({"output_config": {"effort": task.effort}} if task.effort else {})


def _thinking(thinking: bool | int, facts: Model) -> Tree:
    if thinking is False:
        return {"type": "disabled"}
    if thinking is True and facts.thinking_forms[:1] == ("adaptive",):
        return {"type": "adaptive"}
    return {"type": "enabled", "budget_tokens": BUDGET_TOKENS if thinking is True else thinking}


def _images(prompt: Prompt) -> list[Tree]:
    """Image blocks, before the text, as Anthropic's guide to vision advises."""
    return [
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": Plain(pl.format("image/{}", image.format)),
                "data": Plain(image.base64),
            },
        }
        for image in prompt.images
    ]


def _documents(prompt: Prompt) -> list[Tree]:
    """Document blocks, before everything else, as Anthropic's guide to PDF advises; text of any kind is plain text."""
    blocks: list[Tree] = []
    for document in prompt.documents:
        is_pdf = document.format == "pdf"
        source = {
            "type": Plain(pl.when(is_pdf).then(pl.lit("base64")).otherwise(pl.lit("text"))),
            "media_type": Plain(pl.when(is_pdf).then(pl.lit("application/pdf")).otherwise(pl.lit("text/plain"))),
            "data": document.data,
        }
        blocks.append({"type": "document", "source": source, "title": document.name})
    return blocks


def _schema(prompt: Prompt) -> dict[str, Any]:
    if (schema := prompt.schema_for("native")) is not None:
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    if (schema := prompt.schema_for("tool")) is not None:
        tool = {"name": TOOL, "description": "Give the answer.", "input_schema": schema}
        return {"tools": [tool], "tool_choice": {"type": "tool", "name": TOOL, "disable_parallel_tool_use": True}}
    return {}


def check_claude(task: TextTask, facts: Model) -> None:
    """
    Check values that Claude refuses together. Source: Anthropic's guide to extended thinking, 2026-11.

    Raises:
        ConfigError: The task has such values.
    """
    if task.thinking is None or task.thinking is False:
        return
    budget = BUDGET_TOKENS if task.thinking is True else task.thinking
    has_budget = task.thinking is not True or facts.thinking_forms[:1] != ("adaptive",)
    if has_budget and facts.thinking_forms == ("adaptive",):
        raise ConfigError(f"thinking: {facts.name} takes no number of tokens; write `thinking: true`, and set `effort`")
    if has_budget and budget < MIN_BUDGET_TOKENS:
        raise ConfigError(f"thinking: Claude takes at least {MIN_BUDGET_TOKENS} tokens; raise {budget}")
    if has_budget and budget >= task.max_tokens:
        raise ConfigError(
            f"thinking: its {budget} tokens are part of max_tokens, which is {task.max_tokens}; raise max_tokens above "
            "them, by as much as an answer needs"
        )
    for name, value in (("temperature", task.temperature), ("top_k", task.top_k)):
        if value not in (None, 1.0):
            raise ConfigError(f"{name}: Claude does not take it while it thinks; remove it, or `thinking`")


_USAGE = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""`input_tokens` leaves out those that were read from a cache and written to one."""

ANTHROPIC = Family(
    name="anthropic",
    kind="text",
    request=_request,
    output=pl.Struct(
        {
            "content": pl.List(pl.Struct({"text": pl.String})),
            "stop_reason": pl.String,
            "usage": pl.Struct(dict.fromkeys(_USAGE, pl.Int64)),
        }
    ),
    answer=text_answer(
        joined_text(at("content")),
        stop_reason=at("stop_reason"),
        tokens=tuple(at("usage", name) for name in _USAGE),
        refused=("refusal",),
    ),
    tool=('"tool_use"', "$.modelOutput.content[*].input"),
    parameters=("stop_sequences", "top_k", "thinking", "effort"),
    check=check_claude,
    truncated=("max_tokens", "model_context_window_exceeded"),
    images=True,
    documents=MESSAGES_FORMATS,
    modes=("native", "tool", "prompt"),
)
