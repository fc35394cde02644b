"""The reference of YAML keys says what the model says, and its JSON schema accepts what loads."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.operations.reference import json_schema, page
from bedrock_assets.pipeline.project import DEMO

DOCS = DEMO.defs.parent / "docs"


def test_the_page_is_up_to_date() -> None:
    """`bedrock-assets reference > bedrock_assets/docs/reference.md` writes it anew."""
    assert (DOCS / "reference.md").read_text("utf-8") == page()


def test_every_key_is_described() -> None:
    """Each key of a pipeline has a line, and each part of it a table."""
    told = page()
    for name, field in [*PipelineSpec.model_fields.items(), *InboxSpec.model_fields.items()]:
        assert f"| `{field.alias or name}` |" in told
    assert all(f"## `{part}`" in told for part in ("source.expand", "task.text", "task.compare", "limits", "canary"))


@pytest.mark.parametrize("path", sorted(DEMO.defs.glob("*/defs.yaml")), ids=lambda path: path.parent.name)
def test_the_schema_accepts_what_loads(path: Path) -> None:
    """The pipelines that ship conform to it."""
    jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), json_schema())


@pytest.mark.parametrize(
    "wrong", [{"modell": "x"}, {"task": {"txt": {}}}, {"on_small": "never"}, {"limits": {"max_jobs": 0}}]
)
def test_the_schema_refuses_what_does_not(wrong: dict[str, object]) -> None:
    """An editor underlines an unknown key or value."""
    document = yaml.safe_load((DEMO.defs / "conversation_summaries/defs.yaml").read_text("utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "attributes": document["attributes"] | wrong}, json_schema())
