"""The page about sinks: its YAML loads, it has all kinds and their assets, and its messages are the code's."""

import re

import yaml

from bedrock_assets.config.sinks import SinksSpec
from bedrock_assets.sinks import SINKS
from tests.docs.blocks import CODE, DOCS, code_of, messages_of

PAGE = (DOCS / "sinks.md").read_text("utf-8")
FOREIGN = {"no unique or exclusion constraint", "does not match any PRIMARY KEY", "permission denied"}
"""Words of databases."""


def test_its_sinks_are_all() -> None:
    """The first table has each kind, with its asset."""
    rows = [line.split("|")[1:3] for line in PAGE.partition("\n\n## ")[0].splitlines() if line.startswith("| `")]
    told = {key.strip(" `").removeprefix("sinks."): asset.strip(" `") for key, asset in rows}
    assert told == {key: sink.asset for key, sink in SINKS.items()}
    assert set(SINKS) == {*SinksSpec.model_fields, "delta", "hub"}


def test_its_yaml() -> None:
    """Each example loads, and they are of all kinds."""
    loaded = [SinksSpec.model_validate(yaml.safe_load(text)["sinks"]) for text in code_of(PAGE, "yaml")]
    assert [key for spec in loaded for key, value in spec if value] == list(SinksSpec.model_fields)


def test_its_messages() -> None:
    """The code says them."""
    pieces = {piece.strip(" ;") for said in messages_of(PAGE) for piece in re.split(r"\.\.\.|'", said)}
    assert [piece for piece in pieces if " " in piece and piece not in FOREIGN and piece not in CODE] == []
