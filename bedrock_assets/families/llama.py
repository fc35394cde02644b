"""
Meta Llama 3, 3.1, 3.2 and 3.3: one raw prompt in the model's own chat template.

Source: Amazon Bedrock user guide, Meta Llama models, 2026-11 (request, response, template with a system prompt). There
are no stop sequences. Every `<|...|>` is taken for a token of the template.
"""

import polars as pl

from bedrock_assets.config.task import TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families.base import Family, Prompt, at, sampling, text_answer
from bedrock_assets.families.jsontext import Tree


def _request(prompt: Prompt, task: TextTask) -> Tree:
    parts = [pl.lit("<|begin_of_text|>")]
    for role, text in (("system", prompt.system), ("user", prompt.text)):
        if text is not None:
            parts += [pl.lit(f"<|start_header_id|>{role}<|end_header_id|>\n\n"), text, pl.lit("<|eot_id|>")]
    turns = pl.concat_str([*parts, pl.lit("<|start_header_id|>assistant<|end_header_id|>\n\n")])
    return {"prompt": turns, **params(task)}


def params(task: TextTask) -> dict[str, Tree]:
    """The sampling parameters of all Llama models."""
    return sampling(task, max_tokens="max_gen_len", temperature="temperature", top_p="top_p", stop=None)


def _check(task: TextTask) -> None:
    if task.stop_sequences:
        raise ConfigError("stop_sequences are not offered by Meta Llama's request; leave them out")


FAMILY = Family(
    name="llama",
    kind="text",
    models=r"meta\.llama3-.*",
    request=_request,
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
    check=_check,
    truncated=("length",),
    special=r"(<)(\|[^|<>\s]*\|>)",
)
