"""
OpenAI's chat completion, in the variants that models on Bedrock take.

Sources, 2026-11, Amazon Bedrock user guide unless named otherwise:
- DeepSeek V3, Qwen: OpenAI models (the response body is OpenAI's chat completion); "Get validated JSON results"
  (`response_format` of open-weight models, also in batch inference).
- gpt-oss: OpenAI models. `max_completion_tokens`; under InvokeModel the text starts with reasoning in `<reasoning>`
  tags, which is cut off (the output file keeps it). Qwen, MiniMax and Magistral write `<think>`.
- GLM, MiniMax, Kimi, Gemma, Nemotron: "Get validated JSON results" (InvokeModel of open-weight models) and their model
  cards (InvokeModel, structured outputs). Kimi K2 Thinking writes its reasoning into the text as gpt-oss does, by
  LiteLLM's tests against Bedrock; it is cut off in all of them.
- Newer Mistral models: Mistral AI chat completion, Mistral Large (24.07), Pixtral Large (`stop_reason` in a choice;
  only `tool_choice: any` forces a tool).
- AI21 Jamba: AI21 Labs Jamba models. The guide names no structured output, so the prompt asks for it.
"""

from dataclasses import replace
from typing import Any

import polars as pl

from bedrock_assets.config import TextTask
from bedrock_assets.families.base import TOOL, Family, Prompt, at, sampling, text_answer
from bedrock_assets.families.json_template import Tree


def _request(prompt: Prompt, task: TextTask, max_tokens: str = "max_tokens") -> dict[str, Any]:
    turns = (("system", prompt.system), ("user", prompt.text))
    messages = [{"role": role, "content": text} for role, text in turns if text is not None]
    request = {"messages": messages, **sampling(task, max_tokens=max_tokens)}
    if (schema := prompt.schema_for("native")) is not None:
        json_schema = {"name": TOOL, "strict": True, "schema": schema}
        request["response_format"] = {"type": "json_schema", "json_schema": json_schema}
    return request


_choice = at("choices").list.first().struct
_message = _choice.field("message").struct
_calls = _message.field("tool_calls")
_arguments = _calls.list.eval(pl.element().struct.field("function").struct.field("arguments"))

_members = {
    "content": pl.String,
    "refusal": pl.String,
    "tool_calls": pl.List(pl.Struct({"function": pl.Struct({"arguments": pl.String})})),
}

CHAT = Family(
    name="chat",
    kind="text",
    request=_request,
    output=pl.Struct(
        {
            "choices": pl.List(
                pl.Struct({"message": pl.Struct(_members), "finish_reason": pl.String, "stop_reason": pl.String})
            ),
            "usage": pl.Struct({"prompt_tokens": pl.Int64, "completion_tokens": pl.Int64}),
        }
    ),
    answer=text_answer(
        _message.field("content"),
        tool=pl.when(_calls.list.len() > 1)
        .then(pl.format("[{}]", _arguments.list.join(",")))
        .otherwise(_arguments.list.first()),
        stop_reason=pl.coalesce(_choice.field("finish_reason"), _choice.field("stop_reason")),
        tokens=(at("usage", "prompt_tokens"), at("usage", "completion_tokens")),
        refused=("content_filter",),
        refusal=_message.field("refusal"),
        n_answers=at("choices").list.len(),
    ),
    truncated=("length",),
    thoughts="tagged",
    text_parts=("choices", 0, "message", "content"),
    modes=("native", "prompt"),
)

JAMBA = replace(CHAT, name="jamba", modes=("prompt",))


def _gpt_oss(prompt: Prompt, task: TextTask) -> Tree:
    return _request(prompt, task, "max_completion_tokens") | {"reasoning_effort": task.effort}


GPT_OSS = replace(
    CHAT,
    name="gpt_oss",
    parameters=("stop_sequences", "effort"),
    request=_gpt_oss,
)

OPEN_WEIGHT = replace(
    GPT_OSS,
    name="open_weight",
    request=_request,
    parameters=("stop_sequences",),
)


def _mistral_chat(prompt: Prompt, task: TextTask) -> Tree:
    request = _request(prompt, task)
    if (schema := prompt.schema_for("tool")) is not None:
        function = {"name": TOOL, "description": "Give the answer.", "parameters": schema}
        request |= {"tools": [{"type": "function", "function": function}], "tool_choice": "any"}
    return request


MISTRAL_CHAT = replace(
    CHAT,
    name="mistral_chat",
    request=_mistral_chat,
    truncated=("length", "model_length"),
    modes=("native", "tool", "prompt"),
)
