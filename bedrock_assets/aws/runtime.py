"""One record, one call: InvokeModel and Converse of Amazon Bedrock's runtime, over a boto3 client."""

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bedrock_assets.audit import Effect, announced
from bedrock_assets.aws.model_invocation_jobs import refusals
from bedrock_assets.errors import BedrockError

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


RECORD_ERRORS = ("ValidationException", "ModelErrorException", "ModelTimeoutException")
"""Errors about one record, not about the account or the service."""


_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""Members of Converse that CountTokens takes (service model)."""


@dataclass(frozen=True)
class Runtime:
    """Calls models of one account and Region on demand."""

    client: "BedrockRuntimeClient"

    def answer(self, model: str, record: str, model_invocation_type: str, *, final: bool, flex: bool = False) -> str:
        """
        Send one record to the model.

        Args:
            record: A line as a batch job reads it: `{"recordId": ..., "modelInput": {...}}`.
            final: Whether no later run will try: that the model was unreachable is then the record's error.
            flex: Whether to ask in the flex tier, which is cheaper and slower, and which not every model has.

        Returns:
            A line as a batch job writes it, with `modelOutput` or with `error`.

        Raises:
            BedrockUnavailable: Throttled or unreachable, after the client's own retries.
            BedrockError: The account may not call the model, or there is no model of that name.
        """
        request = json.loads(record)
        line: dict[str, Any] = {"recordId": request["recordId"]}
        try:
            with announced(Effect.INVOKE_MODEL, request["recordId"]):
                line["modelOutput"] = self._call(model, request["modelInput"], model_invocation_type, flex=flex)
        except BedrockError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and _code(cause) in RECORD_ERRORS:
                line["error"] = _error(cause)
            elif final and error.retryable:
                line["error"] = {"errorCode": "unavailable", "errorMessage": str(error), "retryable": False}
            else:
                raise
        return json.dumps(line, ensure_ascii=False) + "\n"

    def count_tokens(self, model: str, record: str, model_invocation_type: str) -> int:
        """
        The input tokens that a record would be billed. Free.

        Args:
            model: Id of a foundation model; an inference profile is refused.
            record: A line as a batch job reads it.

        Raises:
            BedrockUnavailable: Throttled or unreachable, after the client's own retries.
            BedrockError: The model or the Region does not count tokens, or the account may not ask.
        """
        model_input = json.loads(record)["modelInput"]
        counted: Any = {"invokeModel": {"body": json.dumps(model_input, ensure_ascii=False).encode()}}
        if model_invocation_type == "Converse":
            known = {name: part for name, part in model_input.items() if name in _COUNTED}
            counted = {"converse": _with_bytes(known)}
        with refusals("CountTokens", model):
            return self.client.count_tokens(modelId=model, input=counted)["inputTokens"]

    def is_beside(self, client: Any) -> bool:
        """Whether another client's endpoint is AWS's own as this one's is, or both are an emulator's."""
        return ("amazonaws." in client.meta.endpoint_url) == ("amazonaws." in self.client.meta.endpoint_url)

    def _call(self, model: str, model_input: dict[str, Any], model_invocation_type: str, *, flex: bool) -> Any:
        tier: Any = {"serviceTier": "flex"} if flex else {}
        if model_invocation_type == "Converse":
            tier = {"serviceTier": {"type": "flex"}} if flex else {}
            with refusals("Converse", model):
                answer: dict[str, Any] = dict(self.client.converse(modelId=model, **_with_bytes(model_input), **tier))
            answer.pop("ResponseMetadata", None)
            return answer
        body = json.dumps(model_input, ensure_ascii=False).encode()
        with refusals("InvokeModel", model):
            response = self.client.invoke_model(
                modelId=model, body=body, contentType="application/json", accept="application/json", **tier
            )
            return json.loads(response["body"].read())


def _with_bytes(model_input: dict[str, Any]) -> dict[str, Any]:
    """The arguments of Converse: a batch record has files in base64, but boto3 takes bytes and encodes them itself."""
    blocks = [block for message in model_input["messages"] for block in message["content"]]
    files = [block[kind] for block in blocks for kind in ("image", "document") if kind in block]
    for source in (file["source"] for file in files if "bytes" in file["source"]):
        # What is not base64 goes as it is: the answer to it is the record's error.
        with suppress(ValueError):
            source["bytes"] = base64.b64decode(source["bytes"], validate=True)
    return model_input


def _error(error: ClientError) -> dict[str, Any]:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    message = error.response.get("Error", {}).get("Message", "")
    return {"errorCode": status, "errorMessage": f"{_code(error)}: {message}"}


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
