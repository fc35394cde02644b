"""
Amazon Titan Text.

Source: Amazon Bedrock user guide, Amazon Titan Text models, 2026-11. `inputText` is the prompt as it is, without the
`User: ... Bot:` frame, which is words and no tokens: a row's text could fake a turn of it. A system prompt goes before.
"""

import polars as pl

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import Family, Prompt, at, sampling, text_answer
from bedrock_assets.families.jsontext import Tree


def _request(prompt: Prompt, task: TextTask) -> Tree:
    params = sampling(task, max_tokens="maxTokenCount", temperature="temperature", top_p="topP", stop="stopSequences")
    text = prompt.text if prompt.system is None else pl.format("{}\n\n{}", prompt.system, prompt.text)
    return {"inputText": text, "textGenerationConfig": params}


_result = at("results").list.first().struct

FAMILY = Family(
    name="titan_text",
    kind="text",
    models=r"amazon\.titan-(?:text|tg1)-.*",
    request=_request,
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
    ),
    truncated=("LENGTH",),
)
