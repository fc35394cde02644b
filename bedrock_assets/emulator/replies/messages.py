"""Text families with a list of messages: Anthropic, Amazon Nova, Converse, OpenAI-like chat, Mistral."""

import json
from dataclasses import replace
from hashlib import blake2b

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str, dump
from bedrock_assets.emulator.replies import prompts, thinking
from bedrock_assets.emulator.replies.base import Completion, Models, Prompt, RecordError, Reply, json_reply, sampling
from bedrock_assets.emulator.replies.checks import check_image, optional_int, positive_int
from bedrock_assets.emulator.replies.documents import check_documents
from bedrock_assets.emulator.replies.facts import check_facts
from bedrock_assets.emulator.replies.formats import Format, anthropic_format, chat_format, converse_format

_BLOCKS = (
    "text",
    "audio",
    "cachePoint",
    "citationsContent",
    "document",
    "guardContent",
    "image",
    "reasoningContent",
    "searchResult",
    "toolResult",
    "toolUse",
    "video",
)


def anthropic(model_input: JsonObject, model_id: str, models: Models) -> Reply:
    """Anthropic Messages."""
    if not isinstance(model_input.get("anthropic_version"), str):
        raise RecordError("anthropic_version: Field required")
    if "max_tokens" not in model_input:
        raise RecordError("max_tokens: Field required")
    max_tokens = positive_int(model_input["max_tokens"], "max_tokens")
    check_facts(model_id, model_input, max_tokens)
    form = anthropic_format(model_input)
    asked = model_input.get("thinking")
    prompt = _prompt(model_input, model_input.get("system"), max_tokens, form, model_input)
    answer = models.complete(replace(prompt, thinks=thinking.thinks(model_id, asked)))
    block: JsonObject = {"type": "text", "text": answer.text}
    if form.tool is not None:
        use_id = f"toolu_bdrk_{_hash(answer.text)}"
        block = {"type": "tool_use", "id": use_id, "name": form.tool, "input": _arguments(answer)}
    thoughts = thinking.anthropic_blocks(answer, asked)
    body: JsonObject = {
        "id": f"msg_bdrk_{_hash(answer.text)}",
        "type": "message",
        "role": "assistant",
        "model": model_id.rsplit("/", 1)[-1].rsplit("anthropic.", 1)[-1],
        "content": thoughts if thoughts and _is_cut_short(answer) else [*thoughts, block],
        "stop_reason": _stop_reason(answer, form),
        "stop_sequence": answer.stop,
        "usage": {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens},
    }
    return json_reply(body, answer)


def nova(model_input: JsonObject, model_id: str, models: Models) -> Reply:
    """Amazon Nova under InvokeModel, and Converse on demand."""
    form = converse_format(model_input)
    answer = _converse_answer(model_input, model_id, form, models)
    block: JsonObject = {"text": answer.text}
    if form.tool is not None:
        use_id = f"tooluse_{_hash(answer.text)}"
        block = {"toolUse": {"toolUseId": use_id, "name": form.tool, "input": _arguments(answer)}}
    content = _after_thought(answer, model_id, block)
    body: JsonObject = {
        "output": {"message": {"role": "assistant", "content": [*content]}},
        "stopReason": _stop_reason(answer, form),
        "usage": _usage(answer),
    }
    return json_reply(body, answer)


def converse(model_input: JsonObject, model_id: str, models: Models) -> Reply:
    """Converse in batch, for any model: every member of a union is present, unset ones are null."""
    if "toolConfig" in model_input:
        raise RecordError("toolConfig is not supported for batch inference.")
    if _caches(model_input):
        raise RecordError("Prompt caching is not supported for batch inference.")
    form = converse_format(model_input)
    answer = _converse_answer(model_input, model_id, form, models)
    unset: JsonObject = dict.fromkeys(_BLOCKS)
    content: list[Json] = [{**unset, **block} for block in _after_thought(answer, model_id, {"text": answer.text})]
    usage: JsonObject = {**_usage(answer), "cacheReadInputTokens": None, "cacheWriteInputTokens": None}
    body: JsonObject = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _stop_reason(answer, form),
        "usage": usage,
        "metrics": None,
        "additionalModelResponseFields": None,
        "trace": None,
        "performanceConfig": None,
    }
    return json_reply(body, answer)


def mistral(model_input: JsonObject, model_id: str, models: Models) -> Reply:
    """Mistral AI: text completion of older models; chat of newer ones, whose choices tell their end under two names."""
    if "messages" not in model_input:
        return prompts.mistral(model_input, model_id, models)
    reply = chat(model_input, model_id, models)
    body: JsonObject = json.loads(reply.body)
    for choice in map(as_object, as_list(body["choices"])):
        choice["stop_reason"] = choice["finish_reason"]
        message = as_object(choice["message"])
        message["content"] = message["content"] or ""  # beside tool calls, where other chat models say null
    return Reply(dump(body), reply.input_tokens, reply.output_tokens)


def chat(model_input: JsonObject, model_id: str, models: Models) -> Reply:
    """OpenAI-like chat of open-weight models; the text of some begins with their reasoning."""
    wanted = model_input.get("max_tokens", model_input.get("max_completion_tokens"))
    form = chat_format(model_input)
    max_tokens = optional_int(wanted, "max_tokens", 512)
    check_facts(model_id, model_input, max_tokens)
    prompt = _prompt(model_input, None, max_tokens, form, model_input)
    answer = models.complete(replace(prompt, thinks=thinking.thinks_aloud(model_id)))
    message: JsonObject = {"role": "assistant", "content": thinking.aloud(answer, "<reasoning>", "</reasoning>")}
    reason = "length" if answer.truncated else "stop"
    if form.tool is not None:
        call: JsonObject = {"name": form.tool, "arguments": answer.text}
        calls: list[Json] = [{"id": f"call_{_hash(answer.text)}", "type": "function", "function": call}]
        message |= {"content": None, "tool_calls": calls}
        reason = "tool_calls"
    usage: JsonObject = {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    body: JsonObject = {
        "id": f"chatcmpl-{_hash(answer.text)}",
        "object": "chat.completion",
        "model": model_id.rsplit("/", 1)[-1],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage,
    }
    return json_reply(body, answer)


def _after_thought(answer: Completion, model_id: str, block: JsonObject) -> list[JsonObject]:
    """The content of a Converse message: the thought, if there is one, and the block, unless it was cut before it."""
    thoughts = thinking.converse_blocks(answer, model_id)
    return thoughts if thoughts and _is_cut_short(answer) else [*thoughts, block]


def _is_cut_short(answer: Completion) -> bool:
    return answer.truncated and not answer.text


def _converse_answer(model_input: JsonObject, model_id: str, form: Format, models: Models) -> Completion:
    config = as_object(model_input.get("inferenceConfig"))
    name = "maxTokens" if "maxTokens" in config else "max_new_tokens"
    max_tokens = optional_int(config.get(name), f"inferenceConfig.{name}", 512)
    fields = as_object(model_input.get("additionalModelRequestFields"))
    check_facts(model_id, {**fields, **config, **as_object(fields.get("inferenceConfig"))}, max_tokens)
    prompt = _prompt(model_input, model_input.get("system"), max_tokens, form, config)
    is_thinking = thinking.nova_reasons(model_input) or thinking.thinks(model_id, fields.get("thinking"))
    return models.complete(replace(prompt, thinks=is_thinking))


def _caches(model_input: JsonObject) -> bool:
    """Whether a block is a cache checkpoint."""
    contents = [as_object(message).get("content") for message in as_list(model_input.get("messages"))]
    blocks = [block for content in (*contents, model_input.get("system")) for block in as_list(content)]
    return any("cachePoint" in as_object(block) for block in blocks)


def _prompt(model_input: JsonObject, system: Json, max_tokens: int, form: Format, settings: JsonObject) -> Prompt:
    messages = as_list(model_input.get("messages"))
    if not messages:
        raise RecordError("messages: at least one message is required")
    user: list[str] = []
    instructions = _texts(system)
    turns: list[tuple[str, str]] = []
    for index, message in enumerate(messages):
        content = _content(message, f"messages.{index}")
        role = as_str(as_object(message).get("role"))
        (instructions if role in ("system", "developer") else user).extend(content)
        turns += [(role, "\n".join(content))] if role in ("user", "assistant") else []
    return Prompt(user, "\n".join(instructions), max_tokens, form.schema, tuple(turns), sampling(settings))


def _content(message: Json, where: str) -> list[str]:
    if not isinstance(message, dict):
        raise RecordError(f"{where}: Input should be a valid dictionary")
    if message.get("role") not in ("user", "assistant", "system", "developer", "tool"):
        raise RecordError(f"{where}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise RecordError(f"{where}.content: Field required")
    for index, block in enumerate(as_list(content)):
        check_image(block, f"{where}.content.{index}")
    check_documents(content, message["role"], where)
    texts = _texts(content)
    if not content or (isinstance(content, str) and not content.strip()):
        raise RecordError(f"{where}.content: text content blocks must be non-empty")
    return texts


def _texts(content: Json) -> list[str]:
    """The texts of a string or a list of content blocks; other blocks (images) are skipped."""
    if isinstance(content, str):
        return [content]
    return [text for block in as_list(content) if (text := as_str(as_object(block).get("text")))]


def _usage(answer: Completion) -> JsonObject:
    total = answer.input_tokens + answer.output_tokens
    return {"inputTokens": answer.input_tokens, "outputTokens": answer.output_tokens, "totalTokens": total}


def _stop_reason(answer: Completion, form: Format) -> str:
    if answer.stop is not None:
        return "stop_sequence"
    return "max_tokens" if answer.truncated else "tool_use" if form.tool else "end_turn"


def _arguments(answer: Completion) -> Json:
    """A tool's input; empty if max_tokens cut it."""
    try:
        return {} if answer.truncated else json.loads(answer.text)
    except ValueError:
        raise RecordError("The model did not answer with the JSON that the tool's input has to be.", 424) from None


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
