"""
Models that take one raw prompt in their own chat template: Llama 3 and 4, older Mistral models, DeepSeek-R1.

Sources, 2026-11, each with request and response:
- Llama 3, 3.1, 3.2, 3.3: Amazon Bedrock user guide, Meta Llama models. There are no stop sequences.
- Llama 4: Meta's prompt format, and LangChain's AWS package (`convert_messages_to_prompt_llama4`). The user guide shows
  Llama 3's template for all Llama models.
- Mistral 7B, Mixtral 8x7B, 24.02 models: user guide, Mistral AI text completion. The template has no system turn;
  Mistral's own puts the system prompt before the user's text. Answers do not report tokens.
- DeepSeek-R1: user guide, DeepSeek models. The prompt opens `<think>`, so the answer starts with reasoning. Everything
  up to `</think>` is cut off; a text that a limit cut off before it is no answer. DeepSeek's template puts the system
  prompt before the user's turn. Answers do not report tokens.
"""

from dataclasses import replace

import polars as pl

from bedrock_assets.config import TextTask
from bedrock_assets.families.base import Family, Prompt, at, sampling, text_answer
from bedrock_assets.families.json_template import Tree

_no_tokens = pl.lit(None, pl.Int64)


def _llama3(prompt: Prompt, task: TextTask) -> Tree:
    return _llama(prompt, task, header="<|start_header_id|>{}<|end_header_id|>", end="<|eot_id|>")


def _llama4(prompt: Prompt, task: TextTask) -> Tree:
    return _llama(prompt, task, header="<|header_start|>{}<|header_end|>", end="<|eot|>")


def _llama(prompt: Prompt, task: TextTask, *, header: str, end: str) -> Tree:
    parts = [pl.lit("<|begin_of_text|>")]
    for role, text in (("system", prompt.system), ("user", prompt.text)):
        if text is not None:
            parts += [pl.lit(f"{header.format(role)}\n\n"), text, pl.lit(end)]
    turns = pl.concat_str([*parts, pl.lit(f"{header.format('assistant')}\n\n")])
    return {"prompt": turns, **sampling(task, max_tokens="max_gen_len", stop=None)}


LLAMA = Family(
    name="llama",
    kind="text",
    request=_llama3,
    output=pl.Struct(
        {
            "generation": pl.String,
            "prompt_token_count": pl.Int64,
            "generation_token_count": pl.Int64,
            "stop_reason": pl.String,
        }
    ),
    answer=text_answer(
        at("generation"),
        stop_reason=at("stop_reason"),
        tokens=(at("prompt_token_count"), at("generation_token_count")),
    ),
    parameters=(),
    truncated=("length",),
    thoughts="tagged",
    special=r"(<)(\|[^|<>\s]*\|>)",
)
LLAMA4 = replace(LLAMA, name="llama4", request=_llama4)


def _mistral(prompt: Prompt, task: TextTask) -> Tree:
    start = pl.lit("<s>[INST] ") if prompt.system is None else pl.format("<s>[INST] {}\n\n", prompt.system)
    return {"prompt": pl.concat_str([start, prompt.text, pl.lit(" [/INST]")]), **sampling(task), "top_k": task.top_k}


_output = at("outputs").list.first().struct

MISTRAL = Family(
    name="mistral",
    kind="text",
    request=_mistral,
    output=pl.Struct({"outputs": pl.List(pl.Struct({"text": pl.String, "stop_reason": pl.String}))}),
    answer=text_answer(
        _output.field("text"),
        stop_reason=_output.field("stop_reason"),
        tokens=(_no_tokens, _no_tokens),
        n_answers=at("outputs").list.len(),
    ),
    truncated=("length",),
    parameters=("stop_sequences", "top_k"),
    thoughts="tagged",
    special=r"([<\[])(/?s>|unk>|/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
)

BEGIN, USER, ASSISTANT = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"


def _deepseek_r1(prompt: Prompt, task: TextTask) -> Tree:
    parts = [pl.lit(BEGIN), pl.lit("") if prompt.system is None else prompt.system, pl.lit(USER), prompt.text]
    return {"prompt": pl.concat_str([*parts, pl.lit(f"{ASSISTANT}<think>\n")]), **sampling(task)}


_choice = at("choices").list.first().struct

DEEPSEEK_R1 = Family(
    name="deepseek_r1",
    kind="text",
    request=_deepseek_r1,
    output=pl.Struct({"choices": pl.List(pl.Struct({"text": pl.String, "stop_reason": pl.String}))}),
    answer=text_answer(
        _choice.field("text"),
        stop_reason=_choice.field("stop_reason"),
        tokens=(_no_tokens, _no_tokens),
        n_answers=at("choices").list.len(),
    ),
    truncated=("length",),
    thoughts="opened",
    special="(<)(\uff5c[^<>\\s]*\uff5c>|/?think>)",
)
