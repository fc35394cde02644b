"""Amazon Nova's messages. Source: Amazon Nova user guide, complete request schema, 2026-11."""

import polars as pl

from bedrock_assets.families.base import Family, Prompt, joined_text, one, sampling, struct_of
from bedrock_assets.spec import TextTask


def _request(prompt: Prompt, task: TextTask) -> pl.Expr:
    params = sampling(task, max_tokens="maxTokens", temperature="temperature", top_p="topP", stop="stopSequences")
    content = one(struct_of({"text": prompt.text}))
    return struct_of(
        {
            "messages": one(struct_of({"role": "user", "content": content})),
            "system": None if prompt.system is None else one(struct_of({"text": prompt.system})),
            "inferenceConfig": struct_of(params),
        }
    )


_content = pl.col("modelOutput").struct.field("output").struct.field("message").struct.field("content")
_usage = pl.col("modelOutput").struct.field("usage")

FAMILY = Family(
    name="nova",
    kind="text",
    models=r"amazon\.nova-(?!.*(canvas|reel|sonic|embed)).*",
    request=_request,
    output=pl.Struct(
        {
            "output": pl.Struct({"message": pl.Struct({"content": pl.List(pl.Struct({"text": pl.String}))})}),
            "stopReason": pl.String,
            "usage": pl.Struct({"inputTokens": pl.Int64, "outputTokens": pl.Int64}),
        }
    ),
    answer={
        "response": joined_text(_content),
        "stop_reason": pl.col("modelOutput").struct.field("stopReason"),
        "input_tokens": _usage.struct.field("inputTokens"),
        "output_tokens": _usage.struct.field("outputTokens"),
    },
)
