"""
Meta Llama 4: as Llama 3, with the headers of its own chat template.

Source: Meta's prompt format of Llama 4, and the same in LangChain's AWS package (`convert_messages_to_prompt_llama4`),
2026-11. The Bedrock user guide shows Llama 3's template for all Llama models.
"""

from dataclasses import replace

import polars as pl

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import Prompt
from bedrock_assets.families.jsontext import Tree
from bedrock_assets.families.llama import FAMILY as LLAMA
from bedrock_assets.families.llama import params


def _request(prompt: Prompt, task: TextTask) -> Tree:
    parts = [pl.lit("<|begin_of_text|>")]
    for role, text in (("system", prompt.system), ("user", prompt.text)):
        if text is not None:
            parts += [pl.lit(f"<|header_start|>{role}<|header_end|>\n\n"), text, pl.lit("<|eot|>")]
    turns = pl.concat_str([*parts, pl.lit("<|header_start|>assistant<|header_end|>\n\n")])
    return {"prompt": turns, **params(task)}


FAMILY = replace(LLAMA, name="llama4", models=r"meta\.llama4-.*", request=_request)
