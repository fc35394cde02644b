"""Anthropic Messages API. Source: Amazon Bedrock user guide, Anthropic Claude Messages, 2026-11."""

import polars as pl

from bedrock_assets.errors import ConfigError
from bedrock_assets.families.base import Family, Prompt, joined_text, one, sampling, struct_of
from bedrock_assets.spec import TextTask

VERSION = "bedrock-2023-05-31"


def _request(prompt: Prompt, task: TextTask) -> pl.Expr:
    params = sampling(task, max_tokens="max_tokens", temperature="temperature", top_p="top_p", stop="stop_sequences")
    content = one(struct_of({"type": "text", "text": prompt.text}))
    messages = one(struct_of({"role": "user", "content": content}))
    return struct_of({"anthropic_version": VERSION, **params, "system": prompt.system, "messages": messages})


def _check(task: TextTask) -> None:
    if task.temperature is not None and task.top_p is not None:
        raise ConfigError(
            "temperature and top_p are both set; newer Claude models fail every record that has both: keep one"
        )


_content = pl.col("modelOutput").struct.field("content")
_usage = pl.col("modelOutput").struct.field("usage")

FAMILY = Family(
    name="anthropic",
    kind="text",
    models=r"anthropic\.claude.*",
    request=_request,
    output=pl.Struct(
        {
            "content": pl.List(pl.Struct({"text": pl.String})),
            "stop_reason": pl.String,
            "usage": pl.Struct({"input_tokens": pl.Int64, "output_tokens": pl.Int64}),
        }
    ),
    answer={
        "response": joined_text(_content),
        "stop_reason": pl.col("modelOutput").struct.field("stop_reason"),
        "input_tokens": _usage.struct.field("input_tokens"),
        "output_tokens": _usage.struct.field("output_tokens"),
    },
    check=_check,
)
