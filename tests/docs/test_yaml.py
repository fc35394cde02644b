"""The YAML of the README and all pages is valid for editors and for `dg check`, which go by the JSON schema alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bedrock_assets.config import InboxSpec, PipelineSpec
from bedrock_assets.config.templating import attributes_of
from tests.docs.blocks import DOCS, code_of

SCHEMAS = {
    "bedrock_assets.BatchInference": attributes_of(PipelineSpec).model_json_schema(),
    "bedrock_assets.BatchInbox": attributes_of(InboxSpec).model_json_schema(),
}
PARTS = {*PipelineSpec.model_fields, "schema"}
PAGES = [DOCS.parent.parent / "README.md", *sorted(DOCS.glob("*.md"))]
SHORT: list[dict[str, Any]] = [
    {"canary": 200},
    {"canary": False},
    {"gold": "human_label"},
    {"schedule": "0 3 * * *"},
    {"source": {"path": "a.csv", "group_by": {"columns": "call", "each": "{text}"}}},
    {"source": {"asset": "shop/reviews"}},
    {"task": {"classify": {"text": "{text}", "labels": ["a", "b"]}}},
]


def attributes_in(page: Path) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """The attributes of each block, the component's type, and whether they are all of a component's."""
    text = page.read_text("utf-8")
    for block in [*code_of(text, "yaml"), *re.findall(r"<<'YAML'\n(.*?)^YAML", text, re.MULTILINE | re.DOTALL)]:
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and document.get("type") in SCHEMAS:
                yield document["type"], document["attributes"], True
            elif isinstance(document, dict) and document.keys() <= PARTS:
                yield "bedrock_assets.BatchInference", document, False


def problems(kind: str, attributes: dict[str, Any], *, whole: bool) -> list[str]:
    """What a validator says of attributes; of a part not that others are missing."""
    schema = SCHEMAS[kind] if whole else {**SCHEMAS[kind], "required": []}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(attributes)]


def test_pages() -> None:
    """Every example, whole or in part."""
    found = [(page.name, *one) for page in PAGES for one in attributes_in(page)]
    assert len(found) >= 20
    told = {(name, str(written)): problems(kind, written, whole=whole) for name, kind, written, whole in found}
    assert {example: texts for example, texts in told.items() if texts} == {}


@pytest.mark.parametrize("written", SHORT, ids=str)
def test_short_forms(written: dict[str, Any]) -> None:
    """A value that stands for all settings of a key is what a validator takes, too."""
    assert problems("bedrock_assets.BatchInference", written, whole=False) == []
