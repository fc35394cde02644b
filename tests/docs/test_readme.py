"""The README: short, in an order in which a stranger needs it, and leading to every page."""

import re

from bedrock_assets.config.pipeline import PipelineSpec
from tests.docs.blocks import DOCS, code_of

README = (DOCS.parent.parent / "README.md").read_text("utf-8")
MAX_WORDS = 1200


def test_it_is_short() -> None:
    """At most 1,200 words."""
    assert len(README.split()) <= MAX_WORDS


def test_it_leads_to_every_page() -> None:
    """Each page is linked, so that none is found by accident only."""
    assert [page.name for page in DOCS.glob("*.md") if f"(bedrock_assets/docs/{page.name})" not in README] == []


def test_its_order() -> None:
    """The demo, one's own table, how it works, what it costs, the pages; words are explained where they first stand."""
    titles = re.findall(r"^## (.*)", README, re.M)
    assert titles[:5] == ["See it run", "Your own table", "How it works", "What it costs", "On AWS"]
    for word in ("shard", "partition", "pool", "backfill"):
        first = re.search(rf"\b{word}s?\b", README)
        assert first is None or README[first.start() - 1] == "*" or word == "backfill", word


def test_its_commands() -> None:
    """The two that are run by `.ci/run`."""
    commands = code_of(README, "bash")
    assert 'pip install -e ".[demo]" && bedrock-assets demo\n' in commands
    assert 'pip install -e ".[dev]" && pytest\n' in commands


def test_its_pipeline_loads() -> None:
    """Its settings are those of a pipeline, with a typed answer."""
    import yaml

    (block,) = code_of(README, "yaml")
    spec = PipelineSpec.model_validate(yaml.safe_load(block)["attributes"])
    assert list(spec.schema_written or ()) == ["summary", "about", "stars"]
