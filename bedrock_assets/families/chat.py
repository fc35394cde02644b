"""
OpenAI's chat completion, as DeepSeek V3 and Qwen take it.

Sources, 2026-11: Amazon Bedrock user guide, OpenAI models (the response body is OpenAI's chat completion), "Get
validated JSON results" (`response_format` of open-weight models, also in batch inference).
"""

from typing import Any

import polars as pl

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import TOOL, Family, Prompt, at, sampling, text_answer
from bedrock_assets.families.jsontext import Tree


def messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The system's and the user's turn."""
    turns = (("system", prompt.system), ("user", prompt.text))
    return [{"role": role, "content": text} for role, text in turns if text is not None]


def response_format(prompt: Prompt) -> dict[str, Any]:
    """What asks for JSON that conforms to a schema."""
    schema = prompt.schema_for("native")
    if schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": TOOL, "strict": True, "schema": schema}}}


def _request(prompt: Prompt, task: TextTask) -> Tree:
    params = sampling(task, max_tokens="max_tokens", temperature="temperature", top_p="top_p", stop="stop")
    return {"messages": messages(prompt), **params, **response_format(prompt)}


_choice = at("choices").list.first().struct
_message = _choice.field("message").struct
_call = _message.field("tool_calls").list.first().struct.field("function").struct.field("arguments")


def content(expr: pl.Expr) -> dict[str, pl.Expr]:
    """How an answer is read whose text is *expr*."""
    return text_answer(
        expr,
        tool=_call,
        stop_reason=pl.coalesce(_choice.field("finish_reason"), _choice.field("stop_reason")),
        tokens=(at("usage", "prompt_tokens"), at("usage", "completion_tokens")),
        refused=("content_filter",),
        refusal=_message.field("refusal"),
    )


TEXT = _message.field("content")
_function = pl.Struct({"arguments": pl.String})
_members = {
    "content": pl.String,
    "refusal": pl.String,
    "tool_calls": pl.List(pl.Struct({"function": _function})),
}

FAMILY = Family(
    name="chat",
    kind="text",
    models=r"(?:qwen\.|deepseek\.v3).*",
    request=_request,
    output=pl.Struct(
        {
            "choices": pl.List(
                pl.Struct({"message": pl.Struct(_members), "finish_reason": pl.String, "stop_reason": pl.String})
            ),
            "usage": pl.Struct({"prompt_tokens": pl.Int64, "completion_tokens": pl.Int64}),
        }
    ),
    answer=content(TEXT),
    truncated=("length",),
    modes={"native": ".*", "prompt": ".*"},
)
