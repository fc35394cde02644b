"""Text families whose requests hold one prompt string: Titan Text, Llama, Mistral."""

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_object, dump
from bedrock_assets.emulator.replies.base import Completion, Models, Prompt, RecordError, Reply, optional_int, sampling


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


def mistral(model_input: JsonObject, _: str, models: Models) -> Reply:
    """Mistral AI text completion."""
    answer = models.complete(_prompt(model_input, "prompt", model_input.get("max_tokens"), "max_tokens", model_input))
    reason = "length" if answer.truncated else "stop"
    return _reply({"outputs": [{"text": answer.text, "stop_reason": reason}]}, answer)


def _prompt(model_input: JsonObject, name: str, max_tokens: Json, limit_name: str, settings: JsonObject) -> Prompt:
    text = model_input.get(name)
    if not isinstance(text, str) or not text.strip():
        raise RecordError(f"Malformed input request: #: required key [{name}] not found, please reformat your input.")
    return Prompt([text], max_tokens=optional_int(max_tokens, limit_name, 512), sampling=sampling(settings))


def _reply(body: JsonObject, answer: Completion) -> Reply:
    return Reply(dump(body), answer.input_tokens, answer.output_tokens)
