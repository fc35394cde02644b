"""
Mistral 7B, Mixtral 8x7B and the 24.02 models: one raw prompt with `[INST]`.

Source: Amazon Bedrock user guide, Mistral AI text completion, 2026-11. The template has no place for a system prompt;
Mistral's own one puts it before the text of the user's turn. Tokens are not told.
"""

import polars as pl

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import Family, Prompt, at, sampling, text_answer
from bedrock_assets.families.jsontext import Tree

COMPLETION = r"mistral\.(?:mistral-7b-|mixtral-8x7b-|mistral-(?:large|small)-2402).*"
"""Models of text completion; every other one chats."""


def _request(prompt: Prompt, task: TextTask) -> Tree:
    before = pl.lit("<s>[INST] ") if prompt.system is None else pl.format("<s>[INST] {}\n\n", prompt.system)
    params = sampling(task, max_tokens="max_tokens", temperature="temperature", top_p="top_p", stop="stop")
    return {"prompt": pl.concat_str([before, prompt.text, pl.lit(" [/INST]")]), **params}


_output = at("outputs").list.first().struct
_untold = pl.lit(None, pl.Int64)

FAMILY = Family(
    name="mistral",
    kind="text",
    models=COMPLETION,
    request=_request,
    output=pl.Struct({"outputs": pl.List(pl.Struct({"text": pl.String, "stop_reason": pl.String}))}),
    answer=text_answer(_output.field("text"), stop_reason=_output.field("stop_reason"), tokens=(_untold, _untold)),
    truncated=("length",),
    special=r"([<\[])(/?s>|unk>|/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
)
