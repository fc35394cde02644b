"""
Text families with one prompt string: Titan Text, Llama, Mistral, DeepSeek-R1.

The tokens of the model's chat template separate the turns of a prompt; a prompt without any is one turn.
"""

import re
from dataclasses import replace

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_object
from bedrock_assets.emulator.replies.base import Family, Models, Prompt, RecordError, Reply, json_reply, sampling
from bedrock_assets.emulator.replies.checks import optional_int
from bedrock_assets.emulator.replies.thinking import aloud

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
        "completionReason": "LENGTH" if answer.truncated else "FINISH" if answer.stop is None else "STOP_CRITERIA_MET",
    }
    return json_reply({"inputTextTokenCount": answer.input_tokens, "results": [result]}, answer)


def llama(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Meta Llama."""
    answer = models.complete(_prompt(model_input, "prompt", model_input.get("max_gen_len"), "max_gen_len", model_input))
    body: JsonObject = {
        "generation": answer.text,
        "prompt_token_count": answer.input_tokens,
        "generation_token_count": answer.output_tokens,
        "stop_reason": "length" if answer.truncated else "stop",
    }
    return json_reply(body, answer)


def deepseek_r1(model_input: JsonObject, _: str, models: Models) -> Reply:
    """DeepSeek-R1: the rest of the reasoning that the prompt opened, then the answer."""
    prompt = _prompt(model_input, "prompt", model_input.get("max_tokens"), "max_tokens", model_input)
    answer = models.complete(replace(prompt, thinks=True))
    reason = "length" if answer.truncated else "stop"
    text = aloud(answer, "", "\n</think>\n\n")
    return json_reply({"choices": [{"text": text, "stop_reason": reason}]}, answer)


def by_template(prompt: str) -> Family:
    """The family whose chat template a prompt uses; Llama if it uses none."""
    if prompt.startswith("<s>[INST]"):
        return mistral
    return deepseek_r1 if "<\uff5cAssistant\uff5c>" in prompt else llama


def mistral(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Mistral AI text completion."""
    answer = models.complete(_prompt(model_input, "prompt", model_input.get("max_tokens"), "max_tokens", model_input))
    reason = "length" if answer.truncated else "stop"
    return json_reply({"outputs": [{"text": answer.text, "stop_reason": reason}]}, answer)


def _prompt(model_input: JsonObject, name: str, max_tokens: Json, limit_name: str, settings: JsonObject) -> Prompt:
    text = model_input.get(name)
    if not isinstance(text, str) or not text.strip():
        raise RecordError(f"Malformed input request: #: required key [{name}] not found, please reformat your input.")
    turns = turns_of(text)
    return Prompt(
        [turn for role, turn in turns if role == "user"] or [text],
        "\n".join(turn for role, turn in turns if role == "system"),
        optional_int(max_tokens, limit_name, 512),
        turns=tuple((role, turn) for role, turn in turns if role in ("user", "assistant") and turn),
        sampling=sampling(settings),
    )


def turns_of(text: str) -> list[tuple[str, str]]:
    """(role, text) of each turn of a prompt in a chat template; empty for any other prompt."""
    if turns := _LLAMA.findall(text):
        return [(role, turn) for role, turn in turns if turn]
    if turns := _INST.findall(text):
        return [("user", turn) for turn in turns]
    if turns := _DEEPSEEK.findall(text):
        before = text.partition("<\uff5cUser\uff5c>")[0].partition("sentence\uff5c>")[2]
        return [*([("system", before)] if before else []), *(("user", turn) for turn in turns)]
    return []
