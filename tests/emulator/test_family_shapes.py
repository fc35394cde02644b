"""What the emulator's families have of their own: turns of raw prompts, reasoning, images, Mistral's two shapes."""

import base64
import json
from typing import Any

import pytest

from bedrock_assets.emulator.replies import RecordError, reply_function
from bedrock_assets.emulator.replies.prompts import turns_of
from tests.emulator.test_replies import CLAUDE, TRANSCRIPT, messages, reply

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nxx").decode()


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        ("Hi.", []),
        (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi\nyou.<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            [("system", "Be brief."), ("user", "Hi\nyou.")],
        ),
        ("<|header_start|>user<|header_end|>\n\nHi.<|eot|><|header_start|>assistant<|header_end|>", [("user", "Hi.")]),
        ("<s>[INST] Hi. [/INST] Yes?</s> [INST] Go. [/INST]", [("user", "Hi."), ("user", "Go.")]),
        (
            "<\uff5cbegin\u2581of\u2581sentence\uff5c>Be brief.<\uff5cUser\uff5c>Hi.<\uff5cAssistant\uff5c><think>\n",
            [("system", "Be brief."), ("user", "Hi.")],
        ),
    ],
)
def test_turns(prompt: str, turns: list[tuple[str, str]]) -> None:
    """A raw prompt is read by the tokens of its chat template; without any it is one text."""
    assert turns_of(prompt) == turns


def test_a_raw_prompt_answers_its_user() -> None:
    """The answer is about the user's turn, not about the template around it."""
    prompt = f"<s>[INST] Summarise.\n\n{TRANSCRIPT} [/INST]"
    text = reply("mistral.mistral-7b-instruct-v0:2", {"prompt": prompt, "max_tokens": 200})["outputs"][0]["text"]
    assert "INST" not in text
    assert "delivery fee" in text


def test_mistral_has_two_shapes() -> None:
    """Chat, in which a choice tells its end under two names; `any` forces the tool that there is."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"n": {"type": "integer"}}}}}
    body = reply("mistral.mistral-large-2407-v1:0", messages("Hi.", tools=[tool], tool_choice="any"))
    (choice,) = body["choices"]
    assert (choice["stop_reason"], choice["finish_reason"]) == ("tool_calls", "tool_calls")
    assert choice["message"]["content"] == ""
    assert isinstance(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])["n"], int)


def test_reasoning_comes_first() -> None:
    """gpt-oss and DeepSeek-R1 reason before they answer, each in its own tags."""
    content = reply("openai.gpt-oss-20b-1:0", messages(TRANSCRIPT))["choices"][0]["message"]["content"]
    assert content.startswith("<reasoning>")
    text = reply("us.deepseek.r1-v1:0", {"prompt": TRANSCRIPT})["choices"][0]["text"]
    assert "</think>" in text
    assert not text.startswith("<think>")


@pytest.mark.parametrize(
    "prompt", ["<s>[INST] Hi. [/INST]", "<|begin_of_text|>Hi.", "<\uff5cUser\uff5c>Hi.<\uff5cAssistant\uff5c>"]
)
def test_opaque_models_answer_by_the_template(prompt: str) -> None:
    """A model whose ARN tells nothing answers in the shape of the template that it is asked in."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl"
    keys = {"<s": "outputs", "<|": "generation", "<\uff5c": "choices"}
    assert keys[prompt[:2]] in reply(arn, {"prompt": prompt})


IMAGES: list[tuple[dict[str, Any], str | None]] = [
    ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, None),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG}}, "does not match"),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}}, "does not match"),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": PNG}}, "Input should be one of"),
    ({"image": {"format": "png", "source": {"bytes": PNG}}}, None),
    ({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/x.png"}}}}, None),
    ({"image": {"format": "png", "source": {"bytes": base64.b64encode(PNG.encode()).decode()}}}, "does not match"),
]


@pytest.mark.parametrize(("image", "refused"), IMAGES)
def test_images(image: dict[str, Any], refused: str | None) -> None:
    """An image is base64 of the format that is said, once encoded and not twice; any other fails its record."""
    is_claude = "type" in image
    text = {"type": "text", "text": "What is it?"} if is_claude else {"text": "What is it?"}
    model = CLAUDE if is_claude else "us.amazon.nova-lite-v1:0"
    settings = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9} if is_claude else {}
    request = {"messages": [{"role": "user", "content": [image, text]}], **settings}
    if refused is None:
        assert reply(model, request)
        return
    function = reply_function(model)
    assert function is not None
    with pytest.raises(RecordError, match=refused):
        function(request, model)
