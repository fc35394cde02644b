"""
DeepSeek-R1: one raw prompt in the model's own chat template.

Source: Amazon Bedrock user guide, DeepSeek models, 2026-11: text completion, with `<think>` opened by the prompt, so
that the answer begins with the reasoning. What is before `</think>` is cut off; an answer that was cut short before it
stays as it is. The system prompt goes between the beginning and the user's turn, as in DeepSeek's template. Tokens are
not told.
"""

import polars as pl

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import Family, Prompt, at, sampling, text_answer
from bedrock_assets.families.jsontext import Tree

BEGIN, USER, ASSISTANT = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"


def _request(prompt: Prompt, task: TextTask) -> Tree:
    parts = [pl.lit(BEGIN), pl.lit("") if prompt.system is None else prompt.system, pl.lit(USER), prompt.text]
    params = sampling(task, max_tokens="max_tokens", temperature="temperature", top_p="top_p", stop="stop")
    return {"prompt": pl.concat_str([*parts, pl.lit(f"{ASSISTANT}<think>\n")]), **params}


_choice = at("choices").list.first().struct
_untold = pl.lit(None, pl.Int64)

FAMILY = Family(
    name="deepseek_r1",
    kind="text",
    models=r"deepseek\.r1.*",
    request=_request,
    output=pl.Struct({"choices": pl.List(pl.Struct({"text": pl.String, "stop_reason": pl.String}))}),
    answer=text_answer(
        _choice.field("text").str.replace(r"(?s)^.*?</think>\s*", ""),
        stop_reason=_choice.field("stop_reason"),
        tokens=(_untold, _untold),
    ),
    truncated=("length",),
    special="(<)(\uff5c[^<>\\s]*\uff5c>|/?think>)",
)
