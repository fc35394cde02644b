"""
OpenAI's gpt-oss: chat completion, with reasoning before the answer.

Source: Amazon Bedrock user guide, OpenAI models, 2026-11: `max_completion_tokens`; under InvokeModel the reasoning,
in `<reasoning>` tags, precedes the text. It is cut off, so that the answer is the answer; the output file keeps it. An
answer that was cut short before the closing tag stays as it is.
"""

from dataclasses import replace

from bedrock_assets.config.task import TextTask
from bedrock_assets.families.base import Prompt, sampling
from bedrock_assets.families.chat import FAMILY as CHAT
from bedrock_assets.families.chat import TEXT, content, messages, response_format
from bedrock_assets.families.jsontext import Tree


def _request(prompt: Prompt, task: TextTask) -> Tree:
    params = sampling(task, max_tokens="max_completion_tokens", temperature="temperature", top_p="top_p", stop="stop")
    return {"messages": messages(prompt), **params, **response_format(prompt)}


FAMILY = replace(
    CHAT,
    name="gpt_oss",
    models=r"openai\.gpt-oss-.*",
    request=_request,
    answer=content(TEXT.str.replace(r"(?s)^\s*<reasoning>.*?</reasoning>\s*", "")),
)
