"""Documents in requests: the emulator refuses what Bedrock refuses, on demand and in batch, and takes the rest."""

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.emulator.replies.documents import MAX_BYTES
from tests.emulator.lab import HAIKU, Lab, connect_to

PDF = b"%PDF-1.7\n%%EOF"
NAME = "The document file name can only contain"


def encoded(content: bytes) -> str:
    """Base64, as it stands in JSON."""
    return base64.b64encode(content).decode()


def document(kind: str = "pdf", content: bytes = PDF, name: str = "Document 1") -> dict[str, Any]:
    """A block of Converse, with its content as it stands in JSON."""
    return {"document": {"format": kind, "name": name, "source": {"bytes": encoded(content)}}}


def messages_block(kind: str, media_type: str, data: str) -> dict[str, Any]:
    """A block of Anthropic Messages."""
    return {"type": "document", "source": {"type": kind, "media_type": media_type, "data": data}}


TEXT = {"text": "What is it?"}
CONVERSE: list[tuple[list[dict[str, Any]], str | None]] = [
    ([document(), TEXT], None),
    ([document("txt", "漢字".encode()), document("csv", b"a,b", "b_2 [1] (x)-"), TEXT], None),
    ([document("docx", b"PK\x03\x04"), document("xls", b"\xd0\xcf\x11\xe0", "b"), TEXT], None),
    ([document(content=PDF.ljust(MAX_BYTES + 1)), TEXT], None),
    ([document("txt", b"x" * (MAX_BYTES + 1)), TEXT], "above the limit of 4.5 MB"),
    ([document("txt", b"\xff\xfe"), TEXT], "not of the format txt"),
    ([document("pdf", b"plain"), TEXT], "not of the format pdf"),
    ([document("pptx", b"PK\x03\x04"), TEXT], "enum value set"),
    ([document("pdf", encoded(PDF).encode()), TEXT], "not of the format pdf"),
    ([document(content=b""), TEXT], "is empty"),
    ([document(name="a.pdf"), TEXT], NAME),
    ([document(name="two  spaces"), TEXT], NAME),
    ([document(name="tab\there"), TEXT], NAME),
    ([document(name="\u3000"), TEXT], NAME),
    ([document(), document(), TEXT], "duplicate document names"),
    ([*(document(name=f"d{i}") for i in range(6)), TEXT], "the limit is 5"),
    ([document()], "text block is required"),
]
MESSAGES: list[tuple[list[dict[str, Any]], str | None]] = [
    ([messages_block("base64", "application/pdf", encoded(PDF)), TEXT], None),
    ([messages_block("text", "text/plain", "Hi"), TEXT], None),
    ([messages_block("base64", "application/pdf", encoded(b"plain")), TEXT], "The PDF specified was not valid"),
    ([messages_block("base64", "application/pdf", "?"), TEXT], "Invalid base64"),
    ([messages_block("base64", "text/plain", encoded(b"plain")), TEXT], "Input should be 'application/pdf'"),
    ([messages_block("text", "text/csv", "a,b"), TEXT], "Input should be 'text/plain'"),
    ([messages_block("text", "text/plain", " "), TEXT], "must be non-empty"),
    ([messages_block("url", "application/pdf", "x"), TEXT], "Input tag should be"),
    ([messages_block("text", "text/plain", "Hi")] * 6, "too many documents"),
]


def with_bytes(block: dict[str, Any]) -> dict[str, Any]:
    """A block as boto3 takes it."""
    if "document" not in block:
        return block
    source = {"bytes": base64.b64decode(block["document"]["source"]["bytes"])}
    return {"document": {**block["document"], "source": source}}


@pytest.mark.parametrize(("content", "refused"), CONVERSE)
def test_converse_on_demand(still_lab: Lab, content: list[dict[str, Any]], refused: str | None) -> None:
    """Documents over HTTP, as boto3 encodes them: formats, contents, names, number and sizes are checked."""
    runtime = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    messages = [{"role": "user", "content": [with_bytes(block) for block in content]}]
    if refused is None:
        assert runtime.converse(modelId=HAIKU, messages=messages)["stopReason"] == "end_turn"
    else:
        with pytest.raises(ClientError, match=refused) as error:
            runtime.converse(modelId=HAIKU, messages=messages)
        assert error.value.response.get("Error", {}).get("Code") == "ValidationException"
    runtime.close()


@pytest.mark.parametrize(("content", "refused"), MESSAGES)
def test_messages_on_demand(still_lab: Lab, content: list[dict[str, Any]], refused: str | None) -> None:
    """Anthropic Messages take PDF in base64 and plain text."""
    runtime = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    blocks = [block if "type" in block else {"type": "text", **block} for block in content]
    request = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": blocks}],
    }
    if refused is None:
        answer = runtime.invoke_model(modelId=HAIKU, body=json.dumps(request))
        assert json.loads(answer["body"].read())["role"] == "assistant"
    else:
        with pytest.raises(ClientError, match=refused):
            runtime.invoke_model(modelId=HAIKU, body=json.dumps(request))
    runtime.close()


def test_only_people_send_documents(still_lab: Lab) -> None:
    """A document in a turn of the model is refused."""
    runtime = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    turns = [{"role": "user", "content": [TEXT]}, {"role": "assistant", "content": [with_bytes(document()), TEXT]}]
    with pytest.raises(ClientError, match="only allowed in messages of the user"):
        runtime.converse(modelId=HAIKU, messages=turns)
    runtime.close()


def test_in_batch(lab: Lab) -> None:
    """A record's document that is not right is that record's error; the job goes on."""
    rows = [
        {"recordId": f"rec{i:04}", "modelInput": {"messages": [{"role": "user", "content": content}]}}
        for i, (content, _) in enumerate(CONVERSE)
    ]
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows), modelInvocationType="Converse")
    lab.wait(arn)
    lines = {line["recordId"]: line for line in lab.lines(arn, "x.jsonl.out")}
    for row, (_, refused) in zip(rows, CONVERSE, strict=True):
        line = lines[row["recordId"]]
        assert ("modelOutput" in line) == (refused is None)
        assert refused is None or refused in line["error"]["errorMessage"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ({"bytes": encoded(PDF)}, None),
        ({"s3Location": {"uri": "s3://bucket/a.pdf"}}, None),
        ({"bytes": "no base64!"}, "not of the format pdf"),
    ],
)
def test_a_record_on_demand(still_lab: Lab, source: dict[str, Any], error: str | None) -> None:
    """A batch record goes through boto3 whatever its document's source is; what is no base64 is the record's error."""
    content = [{"document": {"format": "pdf", "name": "a", "source": source}}, TEXT]
    record = {"recordId": "r", "modelInput": {"messages": [{"role": "user", "content": content}]}}
    client = connect_to("bedrock-runtime", still_lab.emulator.endpoint_url)
    line = json.loads(Runtime(client).answer(HAIKU, json.dumps(record), "Converse", final=True))
    client.close()
    assert ("modelOutput" in line) == (error is None)
    assert error is None or error in line["error"]["errorMessage"]
