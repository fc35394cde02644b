"""
Amazon Nova's messages: text, system, images, structured answers by a forced tool.

Sources, 2026-11: Amazon Nova user guide, complete request schema (`image.source.bytes` is base64 under InvokeModel) and
tool use (`toolChoice.tool`); stop reasons: botocore 1.44 service model, `StopReason` of Converse. Images are sent as
bytes: batch inference takes `s3Location` only where the job's input is a folder that holds all images beside the JSONL
file (user guide, "Format and upload your batch inference data"), and a job of this package is one file.
Nova Micro takes text alone.
"""

from typing import Any

import polars as pl

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import TOOL, Family, Prompt, at, joined_text, sampling, text_answer
from bedrock_assets.families.jsontext import Plain, Tree


def request(prompt: Prompt, task: TextTask) -> dict[str, Any]:
    """The messages, which Converse shares, without a form."""
    params = sampling(task, max_tokens="maxTokens", temperature="temperature", top_p="topP", stop="stopSequences")
    images: list[Tree] = [
        {"image": {"format": Plain(image.format), "source": {"bytes": Plain(image.base64)}}} for image in prompt.images
    ]
    return {
        "messages": [{"role": "user", "content": [*images, {"text": prompt.text}]}],
        "system": None if prompt.system is None else [{"text": prompt.system}],
        "inferenceConfig": params,
    }


def _request(prompt: Prompt, task: TextTask) -> Tree:
    schema = prompt.schema_for("tool")
    if schema is None:
        return request(prompt, task)
    tool = {"toolSpec": {"name": TOOL, "description": "Give the answer.", "inputSchema": {"json": schema}}}
    return request(prompt, task) | {"toolConfig": {"tools": [tool], "toolChoice": {"tool": {"name": TOOL}}}}


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
    answer=text_answer(
        joined_text(at("output", "message", "content")),
        stop_reason=at("stopReason"),
        tokens=(at("usage", "inputTokens"), at("usage", "outputTokens")),
        refused=("content_filtered", "guardrail_intervened"),
    ),
    tool=('"toolUseId"', "$.modelOutput.output.message.content[*].toolUse.input"),
    truncated=("max_tokens", "model_context_window_exceeded"),
    images=r"(?!amazon\.nova-micro).*",
    modes={"tool": ".*", "prompt": ".*"},
)
