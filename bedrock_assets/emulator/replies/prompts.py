"""
Text families whose requests hold one prompt string: Titan Text, Llama, Mistral, DeepSeek-R1.

The turns of a prompt are told by the tokens of the model's chat template, as the model tells them; a prompt without any
is one turn.
"""

import re

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_object, dump
from bedrock_assets.emulator.replies.base import (
    Completion,
    Family,
    Models,
    Prompt,
    RecordError,
    Reply,
    optional_int,
    sampling,
)

_LLAMA = re.compile(
    r"<\|(?:start_header_id|header_start)\|>(\w+)<\|(?:end_header_id|header_end)\|>\s*(.*?)(?:<\|eot(?:_id)?\|>|\s*$)",
    re.DOTALL,
)
_INST = re.compile(r"\[INST\]\s*(.*?)\s*\[/INST\]", re.DOTALL)
_DEEPSEEK = re.compile("<\uff5cUser\uff5c>(.*?)<\uff5cAssistant\uff5c>", re.DOTALL)


def titan_text(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Amazon Titan Text."""
    config = as_object(model_input.get("textGenerationConfig"))
    wanted = config.get("maxTokenCount")
    answer = models.complete(_prompt(model_input, "inputText", wanted, "textGenerationConfig/maxTokenCount", config))
    result: JsonObject = {
        "tokenCount": answer.output_tokens,
        "outputText": answer.text,
        "completionReason": "LENGTH" if answer.truncated else "FINISH",
    }
    return _reply({"inputTextTokenCount": answer.input_tokens, "results": [result]}, answer)


def llama(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Meta Llama."""
    answer = models.complete(_prompt(model_input, "prompt", model_input.get("max_gen_len"), "max_gen_len", model_input))
    body: JsonObject = {
        "generation": answer.text,
        "prompt_token_count": answer.input_tokens,
        "generation_token_count": answer.output_tokens,
        "stop_reason": "length" if answer.truncated else "stop",
    }
    return _reply(body, answer)


def deepseek_r1(model_input: JsonObject, _: str, models: Models) -> Reply:
    """DeepSeek-R1: reasoning, which the prompt has opened, and then the answer."""
    answer = models.complete(_prompt(model_input, "prompt", model_input.get("max_tokens"), "max_tokens", model_input))
    reason = "length" if answer.truncated else "stop"
    text = f"The document says it.\n</think>\n\n{answer.text}"
    return _reply({"choices": [{"text": text, "stop_reason": reason}]}, answer)


def by_template(prompt: str) -> Family:
    """The family whose chat template a prompt is in, Llama where there is none."""
    if prompt.startswith("<s>[INST]"):
        return mistral
    return deepseek_r1 if "<\uff5cAssistant\uff5c>" in prompt else llama


def mistral(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Mistral AI text completion."""
    answer = models.complete(_prompt(model_input, "prompt", model_input.get("max_tokens"), "max_tokens", model_input))
    reason = "length" if answer.truncated else "stop"
    return _reply({"outputs": [{"text": answer.text, "stop_reason": reason}]}, answer)


def _prompt(model_input: JsonObject, name: str, max_tokens: Json, limit_name: str, settings: JsonObject) -> Prompt:
    text = model_input.get(name)
    if not isinstance(text, str) or not text.strip():
        raise RecordError(f"Malformed input request: #: required key [{name}] not found, please reformat your input.")
    turns = turns_of(text)
    return Prompt(
        [said for role, said in turns if role == "user"] or [text],
        "\n".join(said for role, said in turns if role == "system"),
        optional_int(max_tokens, limit_name, 512),
        turns=tuple((role, said) for role, said in turns if role in ("user", "assistant") and said),
        sampling=sampling(settings),
    )


def turns_of(text: str) -> list[tuple[str, str]]:
    """(role, text) of each turn of a prompt in a chat template, empty for any other prompt."""
    if found := _LLAMA.findall(text):
        return [(role, said) for role, said in found if said]
    if found := _INST.findall(text):
        return [("user", said) for said in found]
    if found := _DEEPSEEK.findall(text):
        before = text.partition("<\uff5cUser\uff5c>")[0].partition("sentence\uff5c>")[2]
        return [*([("system", before)] if before else []), *(("user", said) for said in found)]
    return []


def _reply(body: JsonObject, answer: Completion) -> Reply:
    return Reply(dump(body), answer.input_tokens, answer.output_tokens)
