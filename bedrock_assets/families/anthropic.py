"""
Anthropic Messages API: text, system, images, structured answers.

Sources, Amazon Bedrock user guide, 2026-11: Anthropic Claude Messages (request, response, `image` blocks with base64,
`tool_choice`), "Get validated JSON results" (`output_config.format`, also in batch inference). Model cards say which
models take which: the newest refuse a forced tool, models before 4.5 do not have `output_config`.
"""

from typing import Any

import polars as pl

from bedrock_assets.config import TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families.base import TOOL, Family, Prompt, at, joined_text, sampling, text_answer
from bedrock_assets.families.json_template import Plain, Tree

VERSION = "bedrock-2023-05-31"
NATIVE = r"anthropic\.claude-(?:(?:opus|sonnet|haiku)-(?:4-[5-9]|[5-9]|\d\d)|fable|mythos).*"
"""Models with `output_config`."""


def _request(prompt: Prompt, task: TextTask) -> Tree:
    params = sampling(task, stop="stop_sequences")
    content = [*_images(prompt), {"type": "text", "text": prompt.text}]
    messages = [{"role": "user", "content": content}]
    return {"anthropic_version": VERSION, **params, "system": prompt.system, "messages": messages, **_schema(prompt)}


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


def _schema(prompt: Prompt) -> dict[str, Any]:
    if (schema := prompt.schema_for("native")) is not None:
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    if (schema := prompt.schema_for("tool")) is not None:
        tool = {"name": TOOL, "description": "Give the answer.", "input_schema": schema}
        return {"tools": [tool], "tool_choice": {"type": "tool", "name": TOOL, "disable_parallel_tool_use": True}}
    return {}


def _check(task: TextTask) -> None:
    if task.temperature is not None and task.top_p is not None:
        raise ConfigError(
            "temperature and top_p are both set, and newer Claude models fail every record that has both; remove one"
        )


_USAGE = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""`input_tokens` leaves out those that were read from a cache and written to one."""

ANTHROPIC = Family(
    name="anthropic",
    kind="text",
    models=r"anthropic\.claude.*",
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
    check=_check,
    truncated=("max_tokens", "model_context_window_exceeded"),
    images=r"(?!anthropic\.claude-(?:v2|instant)).*",
    modes={"native": NATIVE, "tool": r"anthropic\.claude.*", "prompt": ".*"},
)
