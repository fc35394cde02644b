"""
Amazon's text models, and the Converse request, whose format is Nova's: Nova, Converse, Titan Text.

Sources, 2026-11:
- Nova: Amazon Nova user guide, complete request schema (`image.source.bytes` is base64 under InvokeModel) and tool use
  (`toolChoice.tool`); stop reasons: botocore 1.44 service model, `StopReason` of Converse. Images are sent as bytes:
  batch inference takes `s3Location` only if the job's input is a folder that also holds all images (Amazon Bedrock user
  guide, "Format and upload your batch inference data"), and here a job's input is one file. Nova Micro takes only text.
  Documents are for Converse alone (`documents.py`).
- Converse: botocore 1.44 service model (`image`, `document`, `outputConfig.textFormat`, whose schema is a string);
  Amazon Bedrock user guide, batch inference and "Get validated JSON results". Batch inference was seen to refuse a
  `toolConfig`, so `outputConfig` or the prompt asks for a schema.
- Titan Text: Amazon Bedrock user guide, Amazon Titan Text models. The prompt has no `User: ... Bot:` frame: that is
  plain words, which a row's text could imitate. A system prompt goes before the prompt.
"""

import json
from dataclasses import replace
from typing import Any

import polars as pl

from bedrock_assets.config import TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families.anthropic import check_claude, claude_fields
from bedrock_assets.families.base import TOOL, Family, Prompt, at, joined_text, sampling, text_answer
from bedrock_assets.families.documents import CONVERSE_FORMATS
from bedrock_assets.families.json_template import Plain, Tree, merged
from bedrock_assets.models import Model

DEFAULT_EFFORT = "medium"
"""Of Nova 2, which thinks only with an effort."""


def _messages(prompt: Prompt, task: TextTask) -> dict[str, Any]:
    """The request that Nova and Converse share, without a schema."""
    images: list[Tree] = [
        {"image": {"format": Plain(image.format), "source": {"bytes": Plain(image.base64)}}} for image in prompt.images
    ]
    documents: list[Tree] = [
        {"document": {"format": Plain(one.format), "name": one.name, "source": {"bytes": Plain(one.data)}}}
        for one in prompt.documents
    ]
    return {
        "messages": [{"role": "user", "content": [*documents, *images, {"text": prompt.text}]}],
        "system": None if prompt.system is None else [{"text": prompt.system}],
        "inferenceConfig": sampling(task, max_tokens="maxTokens", top_p="topP", stop="stopSequences"),
    }


def _nova(prompt: Prompt, task: TextTask) -> Tree:
    request = merged(_messages(prompt, task), {"inferenceConfig": {"topK": task.top_k}})
    schema = prompt.schema_for("tool")
    if schema is None:
        return request
    tool = {"toolSpec": {"name": TOOL, "description": "Give the answer.", "inputSchema": {"json": schema}}}
    return request | {"toolConfig": {"tools": [tool], "toolChoice": {"tool": {"name": TOOL}}}}


def reasoning(task: TextTask) -> Tree:
    """The `reasoningConfig` of Nova 2; None if the task says nothing of it."""
    if task.thinking is None and task.effort is None:
        return None
    if task.thinking is False:
        return {"type": "disabled"}
    return {"type": "enabled", "maxReasoningEffort": task.effort or DEFAULT_EFFORT}


def _nova_fields(task: TextTask) -> dict[str, Tree]:
    """Nova's own parameters, as Converse takes them."""
    top_k: Tree = {"topK": task.top_k} if task.top_k else None
    return {"inferenceConfig": top_k, "reasoningConfig": reasoning(task)}


def check_nova_2(task: TextTask, _: Model) -> None:
    """
    Check values that Nova 2 refuses together.

    Raises:
        ConfigError: The task has such values.
    """
    if task.thinking is not None and not isinstance(task.thinking, bool):
        raise ConfigError("thinking: Nova takes no number of tokens; write `thinking: true`, and set `effort`")
    written = [name for name in ("max_tokens", "temperature", "top_p", "top_k") if name in task.model_fields_set]
    if is_unbounded(task) and written:
        raise ConfigError(f"{written[0]}: Nova 2 does not take it with `effort: high`; remove it, or lower effort")


def is_unbounded(task: TextTask) -> bool:
    """Whether Nova 2 thinks with high effort, with which it takes no parameter of sampling and no `maxTokens`."""
    return task.effort == "high" and task.thinking is not False


def unbounded(task: TextTask) -> dict[str, Tree]:
    """What stands in place of the usual parameters then; empty where it does not."""
    if not is_unbounded(task):
        return {}
    return {"inferenceConfig": {"stopSequences": list(task.stop_sequences)} if task.stop_sequences else None}


_READ, _WRITTEN = (
    ("cacheReadInputTokens", "cacheReadInputTokenCount"),
    ("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
)
"""Tokens of a cache, as Converse and as Nova call them; `inputTokens` leaves them out."""
_BLOCK = {"text": pl.String, "citationsContent": pl.Struct({"content": pl.List(pl.Struct({"text": pl.String}))})}


def _tokens(names: tuple[str, str]) -> pl.Expr:
    return pl.coalesce(at("usage", name) for name in names)


def _text(blocks: pl.Expr) -> pl.Expr:
    """The joined text of content blocks; what a citation stands for is a block of its own."""
    block = pl.element().struct
    cited = joined_text(block.field("citationsContent").struct.field("content"))
    texts = blocks.list.eval(pl.coalesce(block.field("text"), cited).drop_nulls())
    return pl.when(texts.list.len() > 0).then(texts.list.join(""))


NOVA = Family(
    name="nova",
    kind="text",
    request=_nova,
    output=pl.Struct(
        {
            "output": pl.Struct({"message": pl.Struct({"content": pl.List(pl.Struct(_BLOCK))})}),
            "stopReason": pl.String,
            "usage": pl.Struct(dict.fromkeys(("inputTokens", "outputTokens", *_READ, *_WRITTEN), pl.Int64)),
        }
    ),
    answer=text_answer(
        _text(at("output", "message", "content")),
        stop_reason=at("stopReason"),
        tokens=(at("usage", "inputTokens"), at("usage", "outputTokens"), _tokens(_READ), _tokens(_WRITTEN)),
        refused=("content_filtered", "guardrail_intervened"),
    ),
    tool=('"toolUseId"', "$.modelOutput.output.message.content[*].toolUse.input"),
    truncated=("max_tokens", "model_context_window_exceeded"),
    images=True,
    parameters=("stop_sequences", "top_k"),
    modes=("tool", "prompt"),
)


def _converse(prompt: Prompt, task: TextTask) -> Tree:
    fields = {name: value for name, value in _own_fields(prompt.facts, task).items() if value is not None}
    request = _messages(prompt, task)
    if prompt.facts.family == "nova_2":
        request |= unbounded(task)
    request |= {"additionalModelRequestFields": fields} if fields else {}
    schema = prompt.schema_for("native")
    if schema is None:
        return request
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": TOOL}}}
    return request | {"outputConfig": {"textFormat": text_format}}


def _own_fields(facts: Model, task: TextTask) -> dict[str, Tree]:
    """What Converse has no place for and hands to the model as it is."""
    if facts.family == "anthropic":
        return claude_fields(task, facts)
    if facts.family in ("nova", "nova_2"):
        return _nova_fields(task)
    return {"reasoning_effort": task.effort}


def _check_converse(task: TextTask, facts: Model) -> None:
    if facts.family == "anthropic":
        check_claude(task, facts)
    elif facts.family == "nova_2":
        check_nova_2(task, facts)


# Converse answers carry the other members of a content block as nulls; only `text` is read.
CONVERSE = replace(
    NOVA,
    name="converse",
    request=_converse,
    invocation_type="Converse",
    thoughts="tagged",
    check=_check_converse,
    documents=CONVERSE_FORMATS,
    modes=("native", "prompt"),
)


def _titan_text(prompt: Prompt, task: TextTask) -> Tree:
    params = sampling(task, max_tokens="maxTokenCount", top_p="topP", stop="stopSequences")
    text = prompt.text if prompt.system is None else pl.format("{}\n\n{}", prompt.system, prompt.text)
    return {"inputText": text, "textGenerationConfig": params}


_result = at("results").list.first().struct

TITAN_TEXT = Family(
    name="titan_text",
    kind="text",
    request=_titan_text,
    output=pl.Struct(
        {
            "inputTextTokenCount": pl.Int64,
            "results": pl.List(
                pl.Struct({"tokenCount": pl.Int64, "outputText": pl.String, "completionReason": pl.String})
            ),
        }
    ),
    answer=text_answer(
        _result.field("outputText"),
        stop_reason=_result.field("completionReason"),
        tokens=(at("inputTextTokenCount"), _result.field("tokenCount")),
        refused=("CONTENT_FILTERED",),
        n_answers=at("results").list.len(),
    ),
    truncated=("LENGTH",),
    thoughts="tagged",
)
